-- What is inside models: distributions of tensors and activations, their changes against other models, and findings.
-- Lists are counts per histogram row; `low` and `high` are the limits of the bins between the outer rows.

CREATE TABLE IF NOT EXISTS distribution (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    place VARCHAR NOT NULL CHECK (place IN ('parameter', 'buffer', 'activation')),
    stage VARCHAR NOT NULL,
    site VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    module_type VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    shape BIGINT[] NOT NULL,
    count BIGINT NOT NULL,
    zeros BIGINT NOT NULL,
    nans BIGINT NOT NULL,
    infs BIGINT NOT NULL,
    minimum DOUBLE,
    maximum DOUBLE,
    mean DOUBLE,
    std DOUBLE,
    abs_sum DOUBLE NOT NULL,
    square_sum DOUBLE NOT NULL,
    channels BIGINT,
    dead_channels BIGINT,
    saturated DOUBLE,
    low DOUBLE NOT NULL,
    high DOUBLE NOT NULL,
    counts BIGINT[] NOT NULL,
    macs BIGINT,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS change (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    reference_key VARCHAR NOT NULL,
    place VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    reference_stage VARCHAR NOT NULL,
    site VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('compared', 'gone', 'new', 'incomparable')),
    reason VARCHAR NOT NULL,
    how VARCHAR[] NOT NULL,
    count BIGINT NOT NULL,
    nonfinite BIGINT NOT NULL,
    zero_both BIGINT NOT NULL,
    zero_here BIGINT NOT NULL,
    zero_there BIGINT NOT NULL,
    mean_abs_change DOUBLE,
    relative_change DOUBLE,
    sqnr_db DOUBLE,
    cosine DOUBLE,
    low DOUBLE,
    high DOUBLE,
    counts BIGINT[] NOT NULL,
    counted BIGINT NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS finding (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    reference_key VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    site VARCHAR NOT NULL,
    weight DOUBLE NOT NULL,
    text VARCHAR NOT NULL,
    proposal VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS layer_time (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    kernels VARCHAR[] NOT NULL,
    position INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    runs INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE OR REPLACE VIEW distributions AS
WITH newest AS (
    SELECT * FROM distribution
    QUALIFY row_number() OVER (PARTITION BY model_key, place, stage, site ORDER BY recorded_at DESC) = 1
)
SELECT d.model_key, model.name AS model, d.place, d.stage, d.site, d.module, d.module_type, d.position, d.shape, d.count,
       d.zeros, d.zeros / nullif(d.count, 0) AS sparsity, d.nans, d.infs, d.minimum, d.maximum, d.mean, d.std,
       d.abs_sum, d.abs_sum / nullif(d.count - d.nans - d.infs, 0) AS mean_abs, d.square_sum,
       d.channels, d.dead_channels, d.dead_channels / nullif(d.channels, 0) AS dead_share, d.saturated,
       d.low, d.high, d.counts, d.macs
FROM newest d
JOIN model USING (model_key);
COMMENT ON VIEW distributions IS 'How the values of every tensor and of every layer''s output are distributed.';
COMMENT ON COLUMN distributions.model_key IS 'The model.';
COMMENT ON COLUMN distributions.model IS 'Its name.';
COMMENT ON COLUMN distributions.place IS 'parameter, buffer (running statistics) or activation (outputs on a fixed sample of the evaluation split).';
COMMENT ON COLUMN distributions.stage IS 'Of activations: torch (the network) or onnx (the file that is deployed); empty for tensors.';
COMMENT ON COLUMN distributions.site IS 'Name of the tensor, or of the layer.';
COMMENT ON COLUMN distributions.module IS 'Path of the module in the code.';
COMMENT ON COLUMN distributions.module_type IS 'Class of the module, or operator of the graph.';
COMMENT ON COLUMN distributions.position IS 'Place along the network, from 0.';
COMMENT ON COLUMN distributions.shape IS 'List of dimensions of a tensor.';
COMMENT ON COLUMN distributions.count IS 'Number of values.';
COMMENT ON COLUMN distributions.zeros IS 'Values that are exactly zero.';
COMMENT ON COLUMN distributions.sparsity IS 'Share of zeros.';
COMMENT ON COLUMN distributions.nans IS 'Values that are not a number.';
COMMENT ON COLUMN distributions.infs IS 'Infinite values.';
COMMENT ON COLUMN distributions.minimum IS 'Smallest finite value.';
COMMENT ON COLUMN distributions.maximum IS 'Largest finite value.';
COMMENT ON COLUMN distributions.mean IS 'Mean of the finite values.';
COMMENT ON COLUMN distributions.std IS 'Standard deviation of the finite values.';
COMMENT ON COLUMN distributions.abs_sum IS 'Sum of absolute finite values.';
COMMENT ON COLUMN distributions.mean_abs IS 'Mean of absolute finite values.';
COMMENT ON COLUMN distributions.square_sum IS 'Sum of squares of the finite values.';
COMMENT ON COLUMN distributions.channels IS 'Output channels.';
COMMENT ON COLUMN distributions.dead_channels IS 'Channels whose weights are all zero; of activations those that never move, or never pass the ReLU behind them.';
COMMENT ON COLUMN distributions.dead_share IS 'Share of dead channels.';
COMMENT ON COLUMN distributions.saturated IS 'Share of values outside what their quantized type can represent; NULL without quantization.';
COMMENT ON COLUMN distributions.low IS 'Lower limit of the histogram.';
COMMENT ON COLUMN distributions.high IS 'Upper limit of the histogram.';
COMMENT ON COLUMN distributions.counts IS 'Values below the limits, in equal bins, above the limits, and exactly zero.';
COMMENT ON COLUMN distributions.macs IS 'Of activations: multiply-accumulates of the layer for one instance.';

CREATE OR REPLACE VIEW changes AS
WITH newest AS (
    SELECT * FROM change
    QUALIFY row_number() OVER (
        PARTITION BY model_key, reference_key, place, stage, reference_stage, site ORDER BY recorded_at DESC) = 1
)
SELECT c.model_key, model.name AS model, c.reference_key, reference.name AS reference, c.place, c.stage, c.reference_stage,
       c.site, c.module, c.position, c.status, c.reason, c.how, c.count, c.nonfinite, c.zero_both, c.zero_here, c.zero_there,
       c.mean_abs_change, c.relative_change, c.sqnr_db, c.cosine, c.low, c.high, c.counts, c.counted
FROM newest c
JOIN model ON model.model_key = c.model_key
JOIN model reference ON reference.model_key = c.reference_key;
COMMENT ON VIEW changes IS 'Every tensor and every layer''s output against the same of another model: of the parent and the root; others when asked for.';
COMMENT ON COLUMN changes.model_key IS 'The model.';
COMMENT ON COLUMN changes.model IS 'Its name.';
COMMENT ON COLUMN changes.reference_key IS 'The model that it is compared with.';
COMMENT ON COLUMN changes.reference IS 'That one''s name.';
COMMENT ON COLUMN changes.place IS 'parameter, buffer or activation.';
COMMENT ON COLUMN changes.stage IS 'Of activations: torch or onnx, of the model.';
COMMENT ON COLUMN changes.reference_stage IS 'Of activations: torch or onnx, of the reference.';
COMMENT ON COLUMN changes.site IS 'Name of the tensor, or of the layer.';
COMMENT ON COLUMN changes.module IS 'Path of the module in the code.';
COMMENT ON COLUMN changes.position IS 'Place along the network, from 0.';
COMMENT ON COLUMN changes.status IS 'compared, gone (not in this model), new (not in the reference) or incomparable.';
COMMENT ON COLUMN changes.reason IS 'Why it was not compared.';
COMMENT ON COLUMN changes.how IS 'List of what was done to compare it: int8 dequantized, factors multiplied, ...';
COMMENT ON COLUMN changes.count IS 'Number of pairs of values; of activations at fixed places.';
COMMENT ON COLUMN changes.nonfinite IS 'Pairs in which a value is not finite: counted here, left out of everything else.';
COMMENT ON COLUMN changes.zero_both IS 'Zero in both.';
COMMENT ON COLUMN changes.zero_here IS 'Zero in the model only.';
COMMENT ON COLUMN changes.zero_there IS 'Zero in the reference only.';
COMMENT ON COLUMN changes.mean_abs_change IS 'Mean of |model - reference|.';
COMMENT ON COLUMN changes.relative_change IS 'Sum of |model - reference| over the sum of |reference|.';
COMMENT ON COLUMN changes.sqnr_db IS '10 log10 of the reference''s energy over that of the difference: inf where nothing changed, -inf where the reference is zero.';
COMMENT ON COLUMN changes.cosine IS 'Cosine of the angle between the two, as vectors.';
COMMENT ON COLUMN changes.low IS 'Lower limit of the bins of counts.';
COMMENT ON COLUMN changes.high IS 'Upper limit of the bins of counts.';
COMMENT ON COLUMN changes.counts IS 'Value (rows as in distributions) by relative change (none, to 1 %, to 10 %, to 50 %, below 100 %, 100 % or more), row by row.';
COMMENT ON COLUMN changes.counted IS 'Pairs behind counts; fewer than count for large tensors.';

CREATE OR REPLACE VIEW findings AS
SELECT f.model_key, model.name AS model, f.reference_key, f.kind, f.site, f.weight, f.text, f.proposal
FROM finding f
JOIN model USING (model_key)
QUALIFY row_number() OVER (PARTITION BY f.model_key, f.reference_key, f.kind, f.site ORDER BY f.recorded_at DESC) = 1;
COMMENT ON VIEW findings IS 'What is conspicuous in a model''s layers, in words.';
COMMENT ON COLUMN findings.model_key IS 'The model.';
COMMENT ON COLUMN findings.model IS 'Its name.';
COMMENT ON COLUMN findings.reference_key IS 'The model that it was compared with.';
COMMENT ON COLUMN findings.kind IS 'What was found: flattened_norm, over_pruned, dead_channels, saturated, diverges, not_finite, outliers.';
COMMENT ON COLUMN findings.site IS 'The layer or tensor.';
COMMENT ON COLUMN findings.weight IS 'How much it matters, from 0 to 1.';
COMMENT ON COLUMN findings.text IS 'The finding.';
COMMENT ON COLUMN findings.proposal IS 'Recipe lines to copy; empty if nothing in a recipe helps.';

CREATE OR REPLACE VIEW layer_times AS
WITH newest AS (
    SELECT * FROM layer_time
    QUALIFY rank() OVER (PARTITION BY model_key, target, device ORDER BY recorded_at DESC) = 1
)
SELECT t.model_key, model.name AS model, t.target, t.device, t.module, t.kernels, t.position, t.seconds,
       t.seconds / nullif(sum(t.seconds) OVER (PARTITION BY t.model_key, t.target, t.device), 0) AS share, t.runs, t.threads
FROM newest t
JOIN model USING (model_key);
COMMENT ON VIEW layer_times IS 'Where a model''s time goes: every layer under the runtime''s profiler, apart from all latencies; only of targets that tell it.';
COMMENT ON COLUMN layer_times.model_key IS 'The model.';
COMMENT ON COLUMN layer_times.model IS 'Its name.';
COMMENT ON COLUMN layer_times.target IS 'The runtime.';
COMMENT ON COLUMN layer_times.device IS 'The machine.';
COMMENT ON COLUMN layer_times.module IS 'Path of the module in the code; empty: everything that belongs to none.';
COMMENT ON COLUMN layer_times.kernels IS 'List of the operators that the runtime runs for it.';
COMMENT ON COLUMN layer_times.position IS 'Place in the order in which layers run, from 0.';
COMMENT ON COLUMN layer_times.seconds IS 'Seconds for one instance, the shortest of the runs. A profiler takes time itself, and other work may run: for latencies see timings.';
COMMENT ON COLUMN layer_times.share IS 'Share of the sum over all layers.';
COMMENT ON COLUMN layer_times.runs IS 'Number of runs.';
COMMENT ON COLUMN layer_times.threads IS 'Threads of the runtime.';
