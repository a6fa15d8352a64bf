-- Accuracy of parts of the data, each with its Wilson interval (z = 1.96): where compression hurts whom.

CREATE OR REPLACE VIEW class_accuracy AS
WITH labelled AS (
    SELECT p.model_key, p.model, p.target, p.dataset_key, p.dataset, p.split, p.correct,
           -- an instance of several labels counts in the row of each
           unnest(CASE WHEN json_extract_string(d.entry, '$.answers') = 'labels' THEN string_split(p.label, '|')
                       ELSE [p.label] END) AS class
    FROM predictions p
    JOIN datasets d USING (dataset_key)
    WHERE len(d.classes) > 0
),
counted AS (
    SELECT model_key, model, target, dataset_key, dataset, split, class,
           count(*) AS instances, count(*) FILTER (correct) AS hits
    FROM labelled
    GROUP BY ALL
)
SELECT model_key, model, target, dataset_key, dataset, split, class, instances, hits / instances AS accuracy,
       greatest(0, (hits + 1.9207 - 1.96 * sqrt(hits * (instances - hits) / instances + 0.9604)) / (instances + 3.8415)) AS low,
       least(1, (hits + 1.9207 + 1.96 * sqrt(hits * (instances - hits) / instances + 0.9604)) / (instances + 3.8415)) AS high
FROM counted;
COMMENT ON VIEW class_accuracy IS 'Accuracy of each model on the instances of each class. One of several labels counts in the row of each.';
COMMENT ON COLUMN class_accuracy.target IS 'The runtime that ran the model.';
COMMENT ON COLUMN class_accuracy.class IS 'The label as people read it: a class, or one of several labels.';
COMMENT ON COLUMN class_accuracy.instances IS 'Instances with that label.';
COMMENT ON COLUMN class_accuracy.accuracy IS 'Share of them that the model gets right.';
COMMENT ON COLUMN class_accuracy.low IS 'Lower end of the 95 % interval (Wilson).';
COMMENT ON COLUMN class_accuracy.high IS 'Upper end of the 95 % interval.';

CREATE OR REPLACE VIEW group_accuracy AS
WITH tagged AS (
    SELECT p.model_key, p.model, p.target, p.dataset_key, p.dataset, p.split, p.correct,
           unnest(map_entries(i.attributes)) AS attribute
    FROM predictions p
    JOIN instances i ON i.dataset_key = p.dataset_key AND i.split = p.split AND i.position = p.position
),
counted AS (
    SELECT model_key, model, target, dataset_key, dataset, split, attribute.key AS attribute, attribute.value AS value,
           count(*) AS instances, count(*) FILTER (correct) AS hits
    FROM tagged
    WHERE attribute.value <> ''  -- no value, as older versions wrote it
    GROUP BY ALL
)
SELECT model_key, model, target, dataset_key, dataset, split, attribute, value, instances, hits / instances AS accuracy,
       greatest(0, (hits + 1.9207 - 1.96 * sqrt(hits * (instances - hits) / instances + 0.9604)) / (instances + 3.8415)) AS low,
       least(1, (hits + 1.9207 + 1.96 * sqrt(hits * (instances - hits) / instances + 0.9604)) / (instances + 3.8415)) AS high
FROM counted;
COMMENT ON VIEW group_accuracy IS 'Accuracy of each model on the instances of each attribute group.';
COMMENT ON COLUMN group_accuracy.target IS 'The runtime that ran the model.';
COMMENT ON COLUMN group_accuracy.attribute IS 'Name of the attribute.';
COMMENT ON COLUMN group_accuracy.value IS 'Its value: with the attribute it names the group.';
COMMENT ON COLUMN group_accuracy.instances IS 'Instances of the group.';
COMMENT ON COLUMN group_accuracy.accuracy IS 'Share of them that the model gets right.';
COMMENT ON COLUMN group_accuracy.low IS 'Lower end of the 95 % interval (Wilson).';
COMMENT ON COLUMN group_accuracy.high IS 'Upper end of the 95 % interval.';
