-- What one change to one layer does, and what choices of such changes were predicted to do.

CREATE OR REPLACE VIEW sensitivities AS
WITH newest AS (
    SELECT * FROM sensitivity
    QUALIFY row_number() OVER (PARTITION BY model_key, candidate, layer ORDER BY recorded_at DESC, evidence_key) = 1
),
timed AS (
    SELECT * FROM sensitivity_time
    QUALIFY row_number() OVER (
        PARTITION BY model_key, candidate, layer ORDER BY recorded_at DESC, target, evidence_key) = 1
)
SELECT s.model_key, model.name AS model, s.candidate, s.op, s.params, s.layer, s.members, s.position, s.score, s.kl, s.kl_se,
       s.loss, s.loss_se, s.flips, s.flips_se, s.weight_bytes, s.compressed_weight_bytes, s.macs, t.saved_seconds, t.saved_se,
       t.before_seconds, t.whole_seconds, t.whole_se, t.target, t.device, s.reason, s.instances, s.seconds, s.score_seconds
FROM newest s
JOIN model USING (model_key)
LEFT JOIN timed t ON t.model_key = s.model_key AND t.candidate = s.candidate AND t.layer = s.layer;
COMMENT ON VIEW sensitivities IS 'What one candidate does to one layer alone: damage on calibration instances, and what it saves in bytes, work and time.';

CREATE OR REPLACE VIEW allocations AS
SELECT a.model_key, model.name AS model, a.parent_key, parent.name AS parent, a.request, a.choices, a.damage,
       a.predicted_damage, a.predicted_se, a.measured_damage, a.measured_se, a.predicted, a.measured, a.before
FROM allocation a
JOIN model ON model.model_key = a.model_key
JOIN model parent ON parent.model_key = a.parent_key
QUALIFY row_number() OVER (PARTITION BY a.model_key, a.parent_key ORDER BY a.recorded_at DESC) = 1;
COMMENT ON VIEW allocations IS 'Chosen candidates by layer: predicted against measured damage and costs.';
