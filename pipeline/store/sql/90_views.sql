-- The public surface. `scoreboard` is made by schema/scoreboard.py, since its columns are the metrics at hand.

CREATE OR REPLACE VIEW runs AS
SELECT run_id, recipe, started_at, finished_at, exit_code,
       epoch(finished_at - started_at) AS seconds, git_commit, config, versions, host
FROM run LEFT JOIN run_end USING (run_id);
COMMENT ON VIEW runs IS 'One row per run of the pipeline, and per import.';
COMMENT ON COLUMN runs.run_id IS 'Identifies the run.';
COMMENT ON COLUMN runs.recipe IS 'Name of the recipe, or of the imported file.';
COMMENT ON COLUMN runs.started_at IS 'Start, UTC.';
COMMENT ON COLUMN runs.finished_at IS 'End, UTC; NULL while it runs, or if it was killed.';
COMMENT ON COLUMN runs.exit_code IS '0 if every step succeeded; NULL while it runs, or if it was killed.';
COMMENT ON COLUMN runs.seconds IS 'From start to end.';
COMMENT ON COLUMN runs.git_commit IS 'Commit of the working directory, if it is a git checkout.';
COMMENT ON COLUMN runs.config IS 'JSON: the whole configuration after overrides.';
COMMENT ON COLUMN runs.versions IS 'JSON: versions of Python and the libraries.';
COMMENT ON COLUMN runs.host IS 'JSON: the machine.';

CREATE OR REPLACE VIEW models AS
WITH made AS (
    SELECT model_key, list_sort(list(DISTINCT run.recipe)) AS recipes,
           min(finished_at) FILTER (outcome = 'done' AND job = 'operation') AS created_at
    FROM step JOIN run USING (run_id)
    GROUP BY model_key
)
SELECT m.model_key, m.name, m.title, m.recipe, coalesce(made.recipes, [m.recipe]) AS recipes,
       m.parent_key, parent.name AS parent, m.root_key, root.name AS root, m.depth,
       m.op, m.op_version, m.kind, m.format, m.params, m.reference_keys, m.notes,
       coalesce(made.created_at, m.recorded_at) AS created_at
FROM model m
LEFT JOIN model parent ON parent.model_key = m.parent_key
JOIN model root ON root.model_key = m.root_key
LEFT JOIN made ON made.model_key = m.model_key;
COMMENT ON VIEW models IS 'One row per distinct model, whatever the number of runs that made it.';
COMMENT ON COLUMN models.model_key IS 'Names the model by what produced it: 64 hex digits.';
COMMENT ON COLUMN models.name IS 'Path of its step in the recipe that made it first, as that is now, e.g. resnet50/magnitude[sparsity=0.5]/int8; the id of an imported model.';
COMMENT ON COLUMN models.title IS 'Short text for people.';
COMMENT ON COLUMN models.recipe IS 'The recipe that made it first.';
COMMENT ON COLUMN models.recipes IS 'Every recipe that contains it.';
COMMENT ON COLUMN models.parent_key IS 'The model that it was made from; NULL for a root.';
COMMENT ON COLUMN models.parent IS 'Name of the parent.';
COMMENT ON COLUMN models.root_key IS 'The model at the top of its tree; its own key for a root.';
COMMENT ON COLUMN models.root IS 'Name of the root.';
COMMENT ON COLUMN models.depth IS 'Steps from the root: 0 for a root.';
COMMENT ON COLUMN models.op IS 'The operation that made it.';
COMMENT ON COLUMN models.op_version IS 'Version of that operation.';
COMMENT ON COLUMN models.kind IS 'Kind of that operation: base, prune, quantize, ...';
COMMENT ON COLUMN models.format IS 'How the model is stored: torch or onnx.';
COMMENT ON COLUMN models.params IS 'JSON: every parameter of the operation, defaults included.';
COMMENT ON COLUMN models.reference_keys IS 'JSON: other models that parameters name (a teacher, a model to restore from), parameter -> model_key.';
COMMENT ON COLUMN models.notes IS 'JSON: what the operation noted about its result.';
COMMENT ON COLUMN models.created_at IS 'When it was first made, or entered the store, UTC.';

CREATE OR REPLACE VIEW lineage AS
WITH RECURSIVE up AS (
    SELECT model_key, root_key, depth, []::VARCHAR[] AS ancestors, [name] AS path
    FROM model WHERE parent_key IS NULL
    UNION ALL
    SELECT m.model_key, m.root_key, m.depth, list_append(up.ancestors, up.model_key), list_append(up.path, m.name)
    FROM model m JOIN up ON m.parent_key = up.model_key
)
SELECT model_key, root_key, depth, ancestors, path FROM up;
COMMENT ON VIEW lineage IS 'Every model with its ancestors.';
COMMENT ON COLUMN lineage.model_key IS 'The model.';
COMMENT ON COLUMN lineage.root_key IS 'The first of the ancestors; its own key for a root.';
COMMENT ON COLUMN lineage.depth IS 'Number of ancestors.';
COMMENT ON COLUMN lineage.ancestors IS 'List of model_key from the root to the parent; empty for a root.';
COMMENT ON COLUMN lineage.path IS 'List of names from the root to the model itself.';

CREATE OR REPLACE VIEW steps AS
SELECT run_id, run.recipe, path, job, nullif(target, '') AS target, model_key, parent_key, op, kind, params, outcome,
       seconds, cpu_seconds, peak_bytes, error, traceback, finished_at
FROM step LEFT JOIN run USING (run_id);
COMMENT ON VIEW steps IS 'What happened to each job of each run, also where no model came of it.';
COMMENT ON COLUMN steps.run_id IS 'The run.';
COMMENT ON COLUMN steps.recipe IS 'Recipe of the run.';
COMMENT ON COLUMN steps.path IS 'Path of the step in the recipe.';
COMMENT ON COLUMN steps.job IS 'operation (makes the model), or what observes it: export, predict, layers, activations, compare, measure, layer_times, latency (a rough one), timing (only where it failed).';
COMMENT ON COLUMN steps.target IS 'The runtime, for jobs that use one.';
COMMENT ON COLUMN steps.model_key IS 'The model made or observed; of a failed step, the one that would have been made.';
COMMENT ON COLUMN steps.parent_key IS 'The model that the step starts from; NULL for a root.';
COMMENT ON COLUMN steps.op IS 'The operation.';
COMMENT ON COLUMN steps.kind IS 'Kind of the operation.';
COMMENT ON COLUMN steps.params IS 'JSON: parameters of the operation.';
COMMENT ON COLUMN steps.outcome IS 'done, cached, failed or skipped.';
COMMENT ON COLUMN steps.seconds IS 'Wall-clock time; NULL unless it ran.';
COMMENT ON COLUMN steps.cpu_seconds IS 'CPU time of the process that ran it.';
COMMENT ON COLUMN steps.peak_bytes IS 'Peak resident memory of the process that ran it.';
COMMENT ON COLUMN steps.error IS 'Why it failed or was skipped.';
COMMENT ON COLUMN steps.traceback IS 'Python traceback of a failure.';
COMMENT ON COLUMN steps.finished_at IS 'End, UTC.';

CREATE OR REPLACE VIEW metrics AS
SELECT metric, unit, format, better, is_primary, description, scoreboard_column.name AS scoreboard_column, role, pairing
FROM metric LEFT JOIN scoreboard_column USING (metric)
QUALIFY row_number() OVER (PARTITION BY metric ORDER BY recorded_at DESC) = 1;
COMMENT ON VIEW metrics IS 'What each metric means.';
COMMENT ON COLUMN metrics.metric IS 'Name, as in measurements.';
COMMENT ON COLUMN metrics.unit IS 'Unit of the stored values; empty for plain numbers and shares.';
COMMENT ON COLUMN metrics.format IS 'Python format specification for people, e.g. .1%; the unit follows it.';
COMMENT ON COLUMN metrics.better IS 'higher, lower or neither.';
COMMENT ON COLUMN metrics.is_primary IS 'Shown first.';
COMMENT ON COLUMN metrics.description IS 'One sentence.';
COMMENT ON COLUMN metrics.scoreboard_column IS 'Its column in scoreboard: the metric, with a number if another differs only in case.';
COMMENT ON COLUMN metrics.role IS 'quality (of the answers), cost (of running the model), size, change (against the base) or other.';
COMMENT ON COLUMN metrics.pairing IS 'Observations that two models share: instances (see instance_values), wall_time or cpu_time (of one session, see speedups), or none.';

CREATE OR REPLACE VIEW devices AS
SELECT device, description FROM device;
COMMENT ON VIEW devices IS 'Machines that device-bound numbers were measured on.';
COMMENT ON COLUMN devices.device IS 'Short id: hash of the description.';
COMMENT ON COLUMN devices.description IS 'JSON: processor, its flags, cores, versions.';

CREATE OR REPLACE VIEW datasets AS
SELECT dataset_key, name AS dataset, task, classes, splits, entry FROM dataset;
COMMENT ON VIEW datasets IS 'Data sets that models were made from or evaluated on.';
COMMENT ON COLUMN datasets.dataset_key IS 'Fingerprint of the content.';
COMMENT ON COLUMN datasets.dataset IS 'Name.';
COMMENT ON COLUMN datasets.task IS 'What is asked of a model, by the name that recipes have for it.';
COMMENT ON COLUMN datasets.classes IS 'List of class names, in the order of the outputs.';
COMMENT ON COLUMN datasets.splits IS 'JSON: split -> number of instances.';
COMMENT ON COLUMN datasets.entry IS 'JSON: how to open it again.';

CREATE OR REPLACE VIEW measurement_history AS
SELECT m.model_key, model.name AS model, nullif(m.target, '') AS target, nullif(m.device, '') AS device,
       nullif(m.dataset_key, '') AS dataset_key, dataset.name AS dataset, m.metric, m.value, m.low, m.high, m.count,
       metrics.unit, metrics.better, m.run_id, m.measured_at, m.evidence_key
FROM measurement m
JOIN model USING (model_key)
JOIN metrics USING (metric)
LEFT JOIN dataset USING (dataset_key);
COMMENT ON VIEW measurement_history IS 'Every measurement ever made, superseded ones too.';
COMMENT ON COLUMN measurement_history.model_key IS 'The model.';
COMMENT ON COLUMN measurement_history.model IS 'Its name.';
COMMENT ON COLUMN measurement_history.target IS 'The runtime; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurement_history.device IS 'The machine; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurement_history.dataset_key IS 'Fingerprint of the data set; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurement_history.dataset IS 'Name of the data set.';
COMMENT ON COLUMN measurement_history.metric IS 'The metric.';
COMMENT ON COLUMN measurement_history.value IS 'The value, in its unit.';
COMMENT ON COLUMN measurement_history.low IS 'Lower end of the 95 % interval, if known.';
COMMENT ON COLUMN measurement_history.high IS 'Upper end of the 95 % interval, if known.';
COMMENT ON COLUMN measurement_history.count IS 'Number of observations behind the value, if known.';
COMMENT ON COLUMN measurement_history.unit IS 'Unit of value, low and high.';
COMMENT ON COLUMN measurement_history.better IS 'higher, lower or neither.';
COMMENT ON COLUMN measurement_history.run_id IS 'The run that measured it.';
COMMENT ON COLUMN measurement_history.measured_at IS 'When, UTC.';
COMMENT ON COLUMN measurement_history.evidence_key IS 'The artifact or session that the number was computed from.';

CREATE OR REPLACE VIEW measurements AS
WITH superseded AS (  -- rough times of models that a session has timed since
    SELECT rough.evidence_key, model_key, target, device
    FROM timing_process rough JOIN timing_process session USING (model_key, target, device)
    WHERE rough.conditions ->> '$.preset.alone' = 'false'
        AND session.role = 'model' AND session.conditions ->> '$.preset.alone' IS DISTINCT FROM 'false'
),
newest AS (
    SELECT * FROM measurement ANTI JOIN superseded USING (evidence_key, model_key, target, device)
    QUALIFY row_number() OVER (
        PARTITION BY model_key, target, device, dataset_key, metric ORDER BY measured_at DESC, recorded_at DESC) = 1
)
SELECT m.model_key, model.name AS model, nullif(m.target, '') AS target, nullif(m.device, '') AS device,
       nullif(m.dataset_key, '') AS dataset_key, dataset.name AS dataset, m.metric, m.value, m.low, m.high, m.count,
       metrics.unit, metrics.better, m.run_id, m.measured_at, m.evidence_key
FROM newest m
JOIN model USING (model_key)
JOIN metrics USING (metric)
LEFT JOIN dataset USING (dataset_key);
COMMENT ON VIEW measurements IS 'The newest value per model, target, device, data set and metric, in long form; rough times count until a session has timed the model.';
COMMENT ON COLUMN measurements.model_key IS 'The model.';
COMMENT ON COLUMN measurements.model IS 'Its name.';
COMMENT ON COLUMN measurements.target IS 'The runtime; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurements.device IS 'The machine; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurements.dataset_key IS 'Fingerprint of the data set; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurements.dataset IS 'Name of the data set.';
COMMENT ON COLUMN measurements.metric IS 'The metric.';
COMMENT ON COLUMN measurements.value IS 'The value, in its unit.';
COMMENT ON COLUMN measurements.low IS 'Lower end of the 95 % interval, if known.';
COMMENT ON COLUMN measurements.high IS 'Upper end of the 95 % interval, if known.';
COMMENT ON COLUMN measurements.count IS 'Number of observations behind the value, if known.';
COMMENT ON COLUMN measurements.unit IS 'Unit of value, low and high.';
COMMENT ON COLUMN measurements.better IS 'higher, lower or neither.';
COMMENT ON COLUMN measurements.run_id IS 'The run that measured it.';
COMMENT ON COLUMN measurements.measured_at IS 'When, UTC.';
COMMENT ON COLUMN measurements.evidence_key IS 'The artifact or session that the number was computed from.';

CREATE OR REPLACE VIEW instances AS
SELECT s.dataset_key, dataset.name AS dataset, s.split, i.position, i.instance_id, i.label, i.attributes
FROM instance i
JOIN instance_set s USING (instance_set)
JOIN dataset USING (dataset_key);
COMMENT ON VIEW instances IS 'The instances that models were evaluated on.';
COMMENT ON COLUMN instances.dataset_key IS 'Fingerprint of the data set.';
COMMENT ON COLUMN instances.dataset IS 'Name of the data set.';
COMMENT ON COLUMN instances.split IS 'evaluation, calibration or train.';
COMMENT ON COLUMN instances.position IS 'Place in the split, from 0.';
COMMENT ON COLUMN instances.instance_id IS 'Stable id within the data set.';
COMMENT ON COLUMN instances.label IS 'The label as people read it: a class name, or the accepted answers.';
COMMENT ON COLUMN instances.attributes IS 'Map of attribute name -> value, for groups: attributes[''sex''].';

CREATE OR REPLACE VIEW instance_values AS
WITH newest AS (
    SELECT * FROM value_set
    QUALIFY row_number() OVER (
        PARTITION BY model_key, target, device, dataset_key, metric ORDER BY value_set DESC) = 1
)
SELECT s.model_key, model.name AS model, nullif(s.target, '') AS target, nullif(s.device, '') AS device, s.dataset_key,
       dataset.name AS dataset, s.metric, v.position, i.instance_id, v.value, s.evidence_key
FROM instance_value v
JOIN newest s USING (value_set)
JOIN instance i ON i.instance_set = s.instance_set AND i.position = v.position
JOIN model USING (model_key)
JOIN dataset USING (dataset_key);
COMMENT ON VIEW instance_values IS 'The metrics that are means over instances, by instance: two models differ by the mean of the differences.';
COMMENT ON COLUMN instance_values.model_key IS 'The model.';
COMMENT ON COLUMN instance_values.model IS 'Its name.';
COMMENT ON COLUMN instance_values.target IS 'The runtime that ran the model.';
COMMENT ON COLUMN instance_values.device IS 'The machine; NULL if the numbers do not depend on one.';
COMMENT ON COLUMN instance_values.dataset_key IS 'Fingerprint of the data set.';
COMMENT ON COLUMN instance_values.dataset IS 'Name of the data set.';
COMMENT ON COLUMN instance_values.metric IS 'The metric.';
COMMENT ON COLUMN instance_values.position IS 'Place of the instance in the evaluation split, from 0.';
COMMENT ON COLUMN instance_values.instance_id IS 'The instance.';
COMMENT ON COLUMN instance_values.value IS 'Its number, in the unit of the metric; NULL if it does not count.';
COMMENT ON COLUMN instance_values.evidence_key IS 'The artifact that the numbers were computed from.';

CREATE OR REPLACE VIEW predictions AS
WITH newest AS (
    SELECT * FROM prediction_set
    QUALIFY row_number() OVER (PARTITION BY model_key, target, dataset_key, split ORDER BY prediction_set DESC) = 1
)
SELECT s.model_key, model.name AS model, nullif(s.target, '') AS target, s.dataset_key, dataset.name AS dataset, s.split,
       p.position, i.instance_id, i.label, p.predicted, p.confidence, p.label_probability, p.correct, p.score,
       list_transform(p.log_probabilities, lambda milli: exp(milli / 1000.0)::FLOAT) AS probabilities
FROM prediction p
JOIN newest s USING (prediction_set)
JOIN instance i ON i.instance_set = s.instance_set AND i.position = p.position
JOIN model USING (model_key)
JOIN dataset USING (dataset_key);
COMMENT ON VIEW predictions IS 'What each model answered, per target and instance.';
COMMENT ON COLUMN predictions.model_key IS 'The model.';
COMMENT ON COLUMN predictions.model IS 'Its name.';
COMMENT ON COLUMN predictions.target IS 'The runtime that ran the model.';
COMMENT ON COLUMN predictions.dataset_key IS 'Fingerprint of the data set.';
COMMENT ON COLUMN predictions.dataset IS 'Name of the data set.';
COMMENT ON COLUMN predictions.split IS 'evaluation, unless stated otherwise.';
COMMENT ON COLUMN predictions.position IS 'Place of the instance in the split, from 0.';
COMMENT ON COLUMN predictions.instance_id IS 'The instance.';
COMMENT ON COLUMN predictions.label IS 'Its label.';
COMMENT ON COLUMN predictions.predicted IS 'The answer: the most likely class, or the text.';
COMMENT ON COLUMN predictions.confidence IS 'Probability of the answer.';
COMMENT ON COLUMN predictions.label_probability IS 'Probability of the label; NULL where it has none.';
COMMENT ON COLUMN predictions.correct IS 'Whether the answer is right.';
COMMENT ON COLUMN predictions.score IS 'Quality from 0 to 1: 1 or 0 for classification, token F1 for question answering.';
COMMENT ON COLUMN predictions.probabilities IS 'List of probabilities in the order of datasets.classes, exact to 0.05 %, nothing below 6e-15; NULL without classes, or where the outputs are not numbers.';

CREATE OR REPLACE VIEW layers AS
WITH newest AS (
    SELECT * FROM layer
    QUALIFY row_number() OVER (PARTITION BY model_key, tensor ORDER BY recorded_at DESC) = 1
),
work AS (  -- known of a layer's outputs; those of the network before those of the file that it became
    SELECT model_key, module, 'weight' AS parameter, arg_max(macs, (stage, recorded_at)) AS macs
    FROM distribution WHERE place = 'activation' AND macs IS NOT NULL GROUP BY ALL
)
SELECT l.model_key, model.name AS model, l.tensor, l.module, l.module_type, l.parameter, l.shape, l.dtype, l.bits,
       l.size, l.nonzeros, 1 - l.nonzeros / nullif(l.size, 0) AS sparsity, l.bytes,
       l.minimum, l.maximum, l.mean, l.std, l.abs_sum, l.abs_sum / nullif(l.size, 0) AS mean_abs,
       coalesce(l.macs, work.macs) AS macs
FROM newest l
JOIN model USING (model_key)
LEFT JOIN work USING (model_key, module, parameter);
COMMENT ON VIEW layers IS 'Statistics of every tensor of every model.';
COMMENT ON COLUMN layers.model_key IS 'The model.';
COMMENT ON COLUMN layers.model IS 'Its name.';
COMMENT ON COLUMN layers.tensor IS 'Name of the tensor: module and parameter.';
COMMENT ON COLUMN layers.module IS 'Path of the module in the code.';
COMMENT ON COLUMN layers.module_type IS 'Class of the module, or operator of the graph.';
COMMENT ON COLUMN layers.parameter IS 'weight, bias, ...';
COMMENT ON COLUMN layers.shape IS 'List of dimensions.';
COMMENT ON COLUMN layers.dtype IS 'Type as stored.';
COMMENT ON COLUMN layers.bits IS 'Bits per value as stored.';
COMMENT ON COLUMN layers.size IS 'Number of values.';
COMMENT ON COLUMN layers.nonzeros IS 'Values other than zero.';
COMMENT ON COLUMN layers.sparsity IS 'Share of zeros.';
COMMENT ON COLUMN layers.bytes IS 'Bytes as stored.';
COMMENT ON COLUMN layers.minimum IS 'Smallest value.';
COMMENT ON COLUMN layers.maximum IS 'Largest value.';
COMMENT ON COLUMN layers.mean IS 'Mean.';
COMMENT ON COLUMN layers.std IS 'Standard deviation.';
COMMENT ON COLUMN layers.abs_sum IS 'Sum of absolute values.';
COMMENT ON COLUMN layers.mean_abs IS 'Mean of absolute values.';
COMMENT ON COLUMN layers.macs IS 'Of weights: multiply-accumulates of their layer for one instance, if known.';
