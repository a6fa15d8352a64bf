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
        WHEN metric IN ('compressed_bytes', 'file_bytes', 'fixed_length', 'ideal_sparse_bytes', 'nonzeros', 'parameters', 'sparsity')
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
    value_set INTEGER PRIMARY KEY,
    fact UUID NOT NULL UNIQUE,
    model_key VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    dataset_key VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    instance_set INTEGER NOT NULL,
    evidence_key VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE instance_value (
    value_set INTEGER NOT NULL,
    position INTEGER NOT NULL,
    value FLOAT
);
INSERT INTO value_set BY NAME
WITH answered AS (
    SELECT * FROM prediction_set WHERE split = 'evaluation'
    QUALIFY row_number() OVER (PARTITION BY model_key, target, dataset_key ORDER BY prediction_set DESC) = 1
),
newest AS (
    SELECT * FROM measurement WHERE metric IN ('accuracy', 'exact_match', 'f1')
    QUALIFY row_number() OVER (
        PARTITION BY model_key, target, device, dataset_key, metric ORDER BY measured_at DESC, recorded_at DESC) = 1
),
means AS (
    SELECT prediction_set, avg(correct::INTEGER) AS correct, avg(score) AS score FROM prediction GROUP BY ALL
)
SELECT row_number() OVER (ORDER BY prediction_set, metric) AS value_set,
    md5(concat_ws('|', model_key, target, device, dataset_key, metric, evidence_key))::UUID AS fact, model_key, target,
    device, dataset_key, metric, instance_set, evidence_key, newest.recorded_at
FROM newest JOIN answered USING (model_key, target, dataset_key) JOIN means USING (prediction_set)
WHERE abs(CASE metric WHEN 'f1' THEN score ELSE correct END - value) < 1e-6;  -- else they are of another evaluation
INSERT INTO instance_value
SELECT value_set, position, CASE metric WHEN 'f1' THEN score ELSE correct::INTEGER END
FROM value_set JOIN (
    SELECT * FROM prediction_set WHERE split = 'evaluation'
    QUALIFY row_number() OVER (PARTITION BY model_key, target, dataset_key ORDER BY prediction_set DESC) = 1
) USING (model_key, target, dataset_key) JOIN prediction USING (prediction_set)
ORDER BY value_set, position;
