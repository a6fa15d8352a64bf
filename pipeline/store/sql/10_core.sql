-- Facts about what was run. Tables are append-only and singular; the views in 90_views.sql are the public surface.
-- `recorded_at` is when a row entered the store: where an identity has several rows, views show the newest.
-- `fact` is a digest of the row, so that writing a row twice stores it once.

CREATE TABLE IF NOT EXISTS meta (
    key VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS run (
    run_id VARCHAR PRIMARY KEY,
    recipe VARCHAR NOT NULL,
    config JSON NOT NULL,
    versions JSON NOT NULL,
    host JSON NOT NULL,
    git_commit VARCHAR,
    started_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS run_end (
    run_id VARCHAR PRIMARY KEY,
    finished_at TIMESTAMP NOT NULL,
    exit_code INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS model (
    model_key VARCHAR PRIMARY KEY,
    parent_key VARCHAR,
    root_key VARCHAR NOT NULL,
    depth INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    recipe VARCHAR NOT NULL,
    op VARCHAR NOT NULL,
    op_version INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    format VARCHAR NOT NULL,
    params JSON NOT NULL,
    reference_keys JSON NOT NULL,
    notes JSON NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS step (
    fact UUID PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    job VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    model_key VARCHAR NOT NULL,
    parent_key VARCHAR,
    op VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    params JSON NOT NULL,
    outcome VARCHAR NOT NULL CHECK (outcome IN ('done', 'cached', 'failed', 'skipped')),
    seconds DOUBLE,
    cpu_seconds DOUBLE,
    peak_bytes BIGINT,
    error VARCHAR,
    traceback VARCHAR,
    finished_at TIMESTAMP,
    recorded_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS dataset (
    dataset_key VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    classes VARCHAR[] NOT NULL,
    splits JSON NOT NULL,
    entry JSON NOT NULL
);

CREATE TABLE IF NOT EXISTS metric (
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

-- Under which name a metric stands in the scoreboard: given once, so that queries keep working.
CREATE TABLE IF NOT EXISTS scoreboard_column (
    metric VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS device (
    device VARCHAR PRIMARY KEY,
    description JSON NOT NULL
);

CREATE TABLE IF NOT EXISTS ingestion (
    evidence_key VARCHAR PRIMARY KEY,
    recorded_at TIMESTAMP NOT NULL
);

-- What an imported file says beyond models and measurements, as it was written, so that an export gives it back.
CREATE TABLE IF NOT EXISTS import_detail (
    fact UUID PRIMARY KEY,
    run_id VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    model_key VARCHAR,
    content VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL
);
