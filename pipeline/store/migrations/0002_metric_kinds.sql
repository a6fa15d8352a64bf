-- Metrics say which question they answer and what two models share; values by instance have a table of their own.
-- Rows of version 1 get both by the names that its metrics had; those of imported files and plug-ins by their words.

CREATE TEMP TABLE metric_1 AS FROM metric;
DROP TABLE metric;
CREATE TABLE metric (
    fact UUID PRIMARY KEY,
    metric VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    format VARCHAR NOT NULL,
    better VARCHAR NOT NULL CHECK (better IN ('higher', 'lower', 'neither')),
    is_primary BOOLEAN NOT NULL,
    description VARCHAR NOT NULL,
    role VARCHAR NOT NULL CHECK (role IN ('quality', 'cost', 'size', 'change', 'other')),
    pairing VARCHAR NOT NULL CHECK (pairing IN ('none', 'instances', 'wall_time', 'cpu_time')),
    recorded_at TIMESTAMP NOT NULL
);
INSERT INTO metric BY NAME
SELECT *,
    CASE
        WHEN metric IN ('accuracy', 'calibration_error', 'exact_match', 'f1', 'invalid_outputs', 'loss', 'macro_f1',
            'top5_accuracy', 'worst_class_accuracy', 'worst_group_accuracy') THEN 'quality'
        WHEN metric IN ('cpu_time_p50', 'energy', 'first_run_time', 'integer_mac_share', 'latency_p50', 'latency_p90',
            'latency_p99', 'load_time', 'macs', 'peak_memory', 'speedup', 'speedup_to_parent', 'throughput',
            'unfused_batch_norms') THEN 'cost'
        WHEN metric IN ('compressed_bytes', 'file_bytes', 'ideal_sparse_bytes', 'nonzeros', 'parameters', 'sparsity')
            THEN 'size'
        WHEN metric IN ('accuracy_drop', 'agreement', 'class_drop_p', 'group_drop_p', 'kl_to_base', 'mcnemar_p',
            'negative_flip_rate', 'worst_class_drop', 'worst_group_drop') THEN 'change'
        WHEN regexp_matches(metric, 'accuracy|f1|exact|score|auc|map\b', 'i') THEN 'quality'
        WHEN regexp_matches(metric, 'latency|time|seconds|\bms\b', 'i') THEN 'cost'
        WHEN regexp_matches(metric, 'size|bytes|param', 'i') THEN 'size'
        ELSE 'other'
    END AS role,
    CASE
        WHEN metric IN ('accuracy', 'accuracy_drop', 'agreement', 'exact_match', 'f1', 'invalid_outputs', 'kl_to_base', 'loss',
            'negative_flip_rate', 'top5_accuracy') THEN 'instances'
        WHEN metric = 'latency_p50' THEN 'wall_time'
        WHEN metric IN ('cpu_time_p50', 'speedup') THEN 'cpu_time'
        ELSE 'none'
    END AS pairing
FROM metric_1;
DROP TABLE metric_1;

CREATE TABLE value_set (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    dataset_key VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    instance_values FLOAT[] NOT NULL,
    evidence_key VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);
INSERT INTO value_set BY NAME
WITH answered AS (
    SELECT prediction_set, list(correct::INTEGER::FLOAT ORDER BY position) AS correct, list(score ORDER BY position) AS score
    FROM prediction GROUP BY ALL
),
newest_set AS (
    SELECT * FROM prediction_set WHERE split = 'evaluation'
    QUALIFY row_number() OVER (PARTITION BY model_key, target, dataset_key ORDER BY prediction_set DESC) = 1
),
newest AS (
    SELECT * FROM measurement WHERE metric IN ('accuracy', 'exact_match', 'f1')
    QUALIFY row_number() OVER (
        PARTITION BY model_key, target, device, dataset_key, metric ORDER BY measured_at DESC, recorded_at DESC) = 1
),
meant AS (
    SELECT newest.*, CASE metric WHEN 'f1' THEN score ELSE correct END AS instance_values
    FROM newest JOIN newest_set USING (model_key, target, dataset_key) JOIN answered USING (prediction_set)
)
SELECT md5(concat_ws('|', model_key, target, device, dataset_key, metric, evidence_key))::UUID AS fact, model_key, target,
    device, dataset_key, metric, instance_values, evidence_key, recorded_at
FROM meant
WHERE abs(list_avg(instance_values) - value) < 1e-6;  -- the predictions of another evaluation are not those of the value
