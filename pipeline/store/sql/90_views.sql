-- The public surface. `scoreboard` is made by schema/scoreboard.py, since its columns are the metrics at hand.

CREATE OR REPLACE VIEW runs AS
SELECT run_id, recipe, started_at, finished_at, exit_code,
       epoch(finished_at - started_at) AS seconds, git_commit, config, versions, host
FROM run LEFT JOIN run_end USING (run_id);
COMMENT ON VIEW runs IS 'One row per run of the pipeline, and per import.';
COMMENT ON COLUMN runs.seconds IS 'From start to end.';

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
COMMENT ON COLUMN models.recipes IS 'Every recipe that contains it.';
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
COMMENT ON COLUMN lineage.ancestors IS 'List of model_key from the root to the parent; empty for a root.';
COMMENT ON COLUMN lineage.path IS 'List of names from the root to the model itself.';

CREATE OR REPLACE VIEW steps AS
SELECT run_id, run.recipe, path, job, nullif(target, '') AS target, model_key, parent_key, op, kind, params, outcome,
       seconds, cpu_seconds, peak_bytes, error, traceback, finished_at
FROM step LEFT JOIN run USING (run_id);
COMMENT ON VIEW steps IS 'What happened to each job of each run, also where no model came of it.';
COMMENT ON COLUMN steps.target IS 'The runtime, for jobs that use one.';

CREATE OR REPLACE VIEW metrics AS
SELECT metric, unit, format, better, is_primary, description, scoreboard_column.name AS scoreboard_column, role, pairing
FROM metric LEFT JOIN scoreboard_column USING (metric)
QUALIFY row_number() OVER (PARTITION BY metric ORDER BY recorded_at DESC) = 1;
COMMENT ON VIEW metrics IS 'What each metric means.';

CREATE OR REPLACE VIEW devices AS
SELECT device, description FROM device;
COMMENT ON VIEW devices IS 'Machines that device-bound numbers were measured on.';

CREATE OR REPLACE VIEW datasets AS
SELECT dataset_key, name AS dataset, task, classes, splits, entry FROM dataset;
COMMENT ON VIEW datasets IS 'Data sets that models were made from or evaluated on.';

CREATE OR REPLACE VIEW measurement_history AS
SELECT m.model_key, model.name AS model, nullif(m.target, '') AS target, nullif(m.device, '') AS device,
       nullif(m.dataset_key, '') AS dataset_key, dataset.name AS dataset, m.metric, m.value, m.low, m.high, m.count,
       metrics.unit, metrics.better, m.run_id, m.measured_at, m.evidence_key
FROM measurement m
JOIN model USING (model_key)
JOIN metrics USING (metric)
LEFT JOIN dataset USING (dataset_key);
COMMENT ON VIEW measurement_history IS 'Every measurement ever made, superseded ones too.';
COMMENT ON COLUMN measurement_history.target IS 'The runtime; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurement_history.device IS 'The machine; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurement_history.dataset_key IS 'Fingerprint of the data set; NULL if the number does not depend on one.';

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
COMMENT ON COLUMN measurements.target IS 'The runtime; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurements.device IS 'The machine; NULL if the number does not depend on one.';
COMMENT ON COLUMN measurements.dataset_key IS 'Fingerprint of the data set; NULL if the number does not depend on one.';

CREATE OR REPLACE VIEW instances AS
SELECT s.dataset_key, dataset.name AS dataset, s.split, i.position, i.instance_id, i.label, i.attributes
FROM instance i
JOIN instance_set s USING (instance_set)
JOIN dataset USING (dataset_key);
COMMENT ON VIEW instances IS 'The instances that models were evaluated on.';

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
COMMENT ON COLUMN instance_values.target IS 'The runtime that ran the model.';
COMMENT ON COLUMN instance_values.device IS 'The machine; NULL if the numbers do not depend on one.';

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
COMMENT ON COLUMN predictions.target IS 'The runtime that ran the model.';
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
COMMENT ON COLUMN layers.sparsity IS 'Share of zeros.';
COMMENT ON COLUMN layers.mean_abs IS 'Mean of absolute values.';
COMMENT ON COLUMN layers.macs IS 'Of weights: multiply-accumulates of their layer for one instance, if known.';
