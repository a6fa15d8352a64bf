-- Choices that were confirmed on instances which nothing else reads.

CREATE OR REPLACE VIEW confirmation_looks AS
SELECT look_id, dataset_key, dataset.name AS dataset, looked_at,
       row_number() OVER (PARTITION BY dataset_key ORDER BY looked_at, look_id) AS look,
       row_number() OVER (PARTITION BY dataset_key, question ORDER BY looked_at, look_id) AS look_of_question,
       question, models, metric, among, target, device, instances
FROM confirmation_look JOIN dataset USING (dataset_key);
COMMENT ON VIEW confirmation_looks IS 'Every look at a confirmation split, also those that failed.';
COMMENT ON COLUMN confirmation_looks.look IS 'Number of the look at this split: the first is the only one that no earlier look can have influenced.';
COMMENT ON COLUMN confirmation_looks.look_of_question IS 'Number of the look with this very question.';

CREATE OR REPLACE VIEW confirmations AS
SELECT f.model_key, model.name AS model, l.look_id, l.looked_at, l.look, l.look_of_question, l.dataset_key, l.dataset, l.target,
       l.device, l.among, f.metric, f.part, f.value, f.low, f.high, f.count, f.chosen_value, f.chosen_low, f.chosen_high,
       f.change, f.change_low, f.change_high, f.change_low <= 0 AND f.change_high >= 0 AS within_noise,
       f.base_key, f.base_change, f.base_change_low, f.base_change_high
FROM confirmation_figure f
JOIN confirmation_looks l USING (look_id)
JOIN model USING (model_key);
COMMENT ON VIEW confirmations IS 'Figures of chosen models on the confirmation split, beside those that they were chosen by.';
COMMENT ON COLUMN confirmations.look IS 'Number of the look at this split.';
COMMENT ON COLUMN confirmations.look_of_question IS 'Number of the look with this very question.';
COMMENT ON COLUMN confirmations.within_noise IS 'Whether the interval of the change holds 0; NULL without an interval. Of this figure alone: of many classes or groups some differ by chance.';
