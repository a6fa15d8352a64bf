-- Evaluation sets beside the data sets' own.

CREATE OR REPLACE VIEW evaluation_sets AS
SELECT e.dataset_key, dataset.name AS dataset, e.name, e.identity, e.definition
FROM evaluation_set e JOIN dataset USING (dataset_key);
COMMENT ON VIEW evaluation_sets IS 'Sets that figures called METRIC @ NAME are of. Two rows of one data set and name: figures of that name do not compare.';
