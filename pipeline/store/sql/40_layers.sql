-- What is inside models: distributions of tensors and activations, their changes against other models, and findings.

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
COMMENT ON COLUMN distributions.sparsity IS 'Share of zeros.';
COMMENT ON COLUMN distributions.mean_abs IS 'Mean of absolute finite values.';
COMMENT ON COLUMN distributions.dead_share IS 'Share of dead channels.';

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

CREATE OR REPLACE VIEW findings AS
SELECT f.model_key, model.name AS model, f.reference_key, f.kind, f.site, f.weight, f.text, f.proposal
FROM finding f
JOIN model USING (model_key)
QUALIFY row_number() OVER (PARTITION BY f.model_key, f.reference_key, f.kind, f.site ORDER BY f.recorded_at DESC) = 1;
COMMENT ON VIEW findings IS 'What is conspicuous in a model''s layers, in words.';

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
COMMENT ON COLUMN layer_times.share IS 'Share of the sum over all layers.';
