-- Facts observed of models. An empty target, device or dataset_key means: does not depend on it.

CREATE TABLE IF NOT EXISTS measurement (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    dataset_key VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE NOT NULL,
    low DOUBLE,
    high DOUBLE,
    count BIGINT,
    run_id VARCHAR NOT NULL,
    measured_at TIMESTAMP NOT NULL,
    evidence_key VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS layer (
    fact UUID PRIMARY KEY,
    model_key VARCHAR NOT NULL,
    tensor VARCHAR NOT NULL,
    module VARCHAR NOT NULL,
    module_type VARCHAR NOT NULL,
    parameter VARCHAR NOT NULL,
    shape BIGINT[] NOT NULL,
    dtype VARCHAR NOT NULL,
    bits DOUBLE NOT NULL,
    size BIGINT NOT NULL,
    nonzeros BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    minimum DOUBLE,
    maximum DOUBLE,
    mean DOUBLE,
    std DOUBLE,
    abs_sum DOUBLE,
    macs BIGINT,
    recorded_at TIMESTAMP NOT NULL
);

-- Bulk rows have no index: a whole set is written in one transaction, or not at all.
CREATE TABLE IF NOT EXISTS instance_set (
    instance_set INTEGER PRIMARY KEY,
    dataset_key VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    size INTEGER NOT NULL,
    UNIQUE (dataset_key, split)
);

CREATE TABLE IF NOT EXISTS instance (
    instance_set INTEGER NOT NULL,
    position INTEGER NOT NULL,
    instance_id VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    attributes MAP(VARCHAR, VARCHAR) NOT NULL
);

CREATE TABLE IF NOT EXISTS prediction_set (
    prediction_set INTEGER PRIMARY KEY,
    fact UUID NOT NULL UNIQUE,
    model_key VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    dataset_key VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    instance_set INTEGER NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

-- log_probabilities: 1000 x ln p, rounded, never below -32767 (p = 6e-15). Two bytes each, exact to 0.05 %, and more exact
-- than 16-bit floats where a model is nearly sure.
CREATE TABLE IF NOT EXISTS prediction (
    prediction_set INTEGER NOT NULL,
    position INTEGER NOT NULL,
    predicted VARCHAR NOT NULL,
    confidence FLOAT,
    label_probability FLOAT,
    correct BOOLEAN NOT NULL,
    score FLOAT,
    log_probabilities SMALLINT[]
);

-- The numbers, one per instance, whose mean is the measurement of the same identity and evidence; NULL does not count.
CREATE TABLE IF NOT EXISTS value_set (
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

CREATE TABLE IF NOT EXISTS instance_value (
    value_set INTEGER NOT NULL,
    position INTEGER NOT NULL,
    value FLOAT
);
