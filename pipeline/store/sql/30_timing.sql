-- How fast models run: every single run of every measuring process, what was compared, and what was found odd.

CREATE OR REPLACE VIEW timing_runs AS
SELECT t.evidence_key, t.model_key, model.name AS model, t.target, t.device, t.scenario, t.batch_size, t.threads, t.role,
       t.group_number, t.launch, t.process, sample.position, t.rounds[sample.position + 1] AS round,
       t.wall_seconds[sample.position + 1] AS wall_seconds, t.cpu_seconds[sample.position + 1] AS cpu_seconds,
       t.kept[sample.position + 1] AS kept, t.measured_at
FROM timing_process t
JOIN model USING (model_key), unnest(range(len(t.wall_seconds))) AS sample(position);
COMMENT ON VIEW timing_runs IS 'Every single timed run of every session: the raw samples behind timings and speedups.';
COMMENT ON COLUMN timing_runs.position IS 'Place of the run in its process, from 0, after warm-up.';
COMMENT ON COLUMN timing_runs.round IS 'Round of the group: two models are compared round by round.';
COMMENT ON COLUMN timing_runs.wall_seconds IS 'Wall-clock time of the run.';
COMMENT ON COLUMN timing_runs.cpu_seconds IS 'CPU time of the run, all threads.';
COMMENT ON COLUMN timing_runs.kept IS 'False for runs of contended rounds that were set aside.';

CREATE OR REPLACE VIEW timings AS
WITH marked AS (
    SELECT *, coalesce(conditions ->> '$.preset.alone' = 'false', false) AS rough FROM timing_process WHERE role = 'model'
),
lasting AS (
    SELECT * FROM marked QUALIFY NOT rough OR bool_and(rough) OVER (PARTITION BY model_key, target, device)
),
newest AS (
    SELECT * FROM lasting
    QUALIFY dense_rank() OVER (
        PARTITION BY model_key, target, device, scenario, batch_size, threads ORDER BY measured_at DESC, evidence_key) = 1
),
facts AS (
    SELECT evidence_key, model_key, target, device, scenario, batch_size, threads,
           any_value(preset) AS preset, any_value(rough) AS rough, count(*) AS processes,
           median(load_seconds) AS load_seconds, median(first_run_seconds) AS first_run_seconds,
           max(peak_bytes) AS peak_bytes, bool_and(valid) AS valid, bool_or(contended) AS contended,
           bool_or(drifted) AS drifted, avg(foreign_cores) AS foreign_cores, any_value(conditions) AS conditions,
           any_value(measured_at) AS measured_at
    FROM newest GROUP BY ALL
),
runs AS (
    SELECT evidence_key, model_key, target, device, scenario, batch_size, threads,
           unnest(wall_seconds) AS wall, unnest(cpu_seconds) AS cpu, unnest(kept) AS is_kept
    FROM newest
),
sorted AS (
    SELECT evidence_key, model_key, target, device, scenario, batch_size, threads,
           count(*) AS n, list_sort(list(wall)) AS wall, list_sort(list(cpu)) AS cpu, sum(wall) AS total
    FROM runs WHERE is_kept GROUP BY ALL
)
SELECT s.model_key, model.name AS model, s.target, s.device, s.scenario, s.batch_size, s.threads, s.n AS runs,
       CASE WHEN s.n >= 11 THEN 1000 * s.wall[ceil(0.50 * s.n)::INTEGER] END AS p50_ms,
       CASE WHEN s.n >= 64 THEN 1000 * s.wall[ceil(0.90 * s.n)::INTEGER] END AS p90_ms,
       CASE WHEN s.n >= 662 THEN 1000 * s.wall[ceil(0.99 * s.n)::INTEGER] END AS p99_ms,
       CASE WHEN s.n < 11 AND pow(0.50, s.n) <= 0.01 THEN 1000 * s.wall[s.n] END AS p50_bound_ms,
       CASE WHEN s.n < 64 AND pow(0.90, s.n) <= 0.01 THEN 1000 * s.wall[s.n] END AS p90_bound_ms,
       CASE WHEN s.n < 662 AND pow(0.99, s.n) <= 0.01 THEN 1000 * s.wall[s.n] END AS p99_bound_ms,
       CASE WHEN s.n >= 11 THEN 1000 * s.cpu[ceil(0.50 * s.n)::INTEGER] END AS cpu_p50_ms,
       s.n * s.batch_size / nullif(s.total, 0) AS instances_per_second,
       1000 * f.load_seconds AS load_ms, 1000 * f.first_run_seconds AS first_run_ms, f.peak_bytes,
       f.rough, f.valid, f.contended, f.drifted, f.foreign_cores, f.processes, f.preset, f.conditions, f.evidence_key,
       f.measured_at
FROM sorted s
JOIN facts f USING (evidence_key, model_key, target, device, scenario, batch_size, threads)
JOIN model USING (model_key)
UNION ALL BY NAME
SELECT f.model_key, model.name AS model, f.target, f.device, f.scenario, f.batch_size, f.threads, 0 AS runs,
       f.preset, f.evidence_key, f.measured_at, f.error
FROM timing_failure f
JOIN model USING (model_key)
ANTI JOIN marked USING (model_key, target, device, scenario, batch_size, threads)
QUALIFY row_number() OVER (
    PARTITION BY f.model_key, f.target, f.device, f.scenario, f.batch_size, f.threads ORDER BY f.measured_at DESC) = 1;
COMMENT ON VIEW timings IS 'How fast each model runs per target, device and condition: the newest session that was asked for it, or a rough figure until there is one.';
COMMENT ON COLUMN timings.runs IS 'Timed runs that were kept.';
COMMENT ON COLUMN timings.p50_ms IS 'Median wall-clock time of a run; NULL with fewer than 11 runs.';
COMMENT ON COLUMN timings.p90_ms IS '90th percentile of the wall-clock time; NULL with fewer than 64 runs.';
COMMENT ON COLUMN timings.p99_ms IS '99th percentile of the wall-clock time; NULL with fewer than 662 runs.';
COMMENT ON COLUMN timings.p50_bound_ms IS 'Where p50_ms is NULL: with 99 % confidence the median is not above this; NULL with too few runs even for that.';
COMMENT ON COLUMN timings.p90_bound_ms IS 'Likewise for p90_ms.';
COMMENT ON COLUMN timings.p99_bound_ms IS 'Likewise for p99_ms.';
COMMENT ON COLUMN timings.cpu_p50_ms IS 'Median CPU time of a run, all threads: hardly disturbed by what else the machine does.';
COMMENT ON COLUMN timings.instances_per_second IS 'Instances divided by the wall-clock time of all runs.';
COMMENT ON COLUMN timings.load_ms IS 'Time to open the model in a fresh process.';
COMMENT ON COLUMN timings.first_run_ms IS 'Time of the first run.';
COMMENT ON COLUMN timings.peak_bytes IS 'Peak memory of opening and running it, above a process that has only imported the runtime.';
COMMENT ON COLUMN timings.rough IS 'True for a first figure that was taken beside other work while a sweep ran; a session replaces it.';
COMMENT ON COLUMN timings.valid IS 'False if outputs were NaN or infinite: the time is then worth nothing.';
COMMENT ON COLUMN timings.contended IS 'True if others used the machine meanwhile, in too many rounds to set them aside.';
COMMENT ON COLUMN timings.drifted IS 'True if the base itself became faster or slower meanwhile.';
COMMENT ON COLUMN timings.foreign_cores IS 'Cores that others kept busy, on average.';
COMMENT ON COLUMN timings.processes IS 'Fresh processes that it was measured in.';

CREATE OR REPLACE VIEW speedups AS
WITH newest AS (
    SELECT * FROM speedup
    QUALIFY dense_rank() OVER (
        PARTITION BY model_key, against_key, relation, target, device, scenario, batch_size, threads, clock
        ORDER BY measured_at DESC, evidence_key) = 1
)
SELECT s.model_key, model.name AS model, s.relation, s.against_key, against.name AS against, s.target, s.device,
       s.scenario, s.batch_size, s.threads, s.clock, s.ratio, s.low, s.high, s.verdict, s.rounds, s.noise, s.contended,
       s.evidence_key, s.measured_at
FROM newest s
JOIN model USING (model_key)
JOIN model against ON against.model_key = s.against_key;
COMMENT ON VIEW speedups IS 'How many times faster each model is than its base and its parent, with 95 % intervals: the newest session.';

CREATE OR REPLACE VIEW lints AS
WITH newest AS (
    SELECT * FROM lint QUALIFY dense_rank() OVER (PARTITION BY model_key ORDER BY found_at DESC) = 1
)
SELECT l.model_key, model.name AS model, l.lint, nullif(l.target, '') AS target, l.message, l.advice, l.evidence,
       l.run_id, l.found_at
FROM newest l
JOIN model USING (model_key)
WHERE l.lint <> '';
COMMENT ON VIEW lints IS 'What is odd about a model, with the measurement that shows it and what to try: the newest check.';
COMMENT ON COLUMN lints.target IS 'The runtime, for rules about one.';
