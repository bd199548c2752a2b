-- Whether a detection is of a canary, the version of a detector that runs beside the live one. Old rows are
-- not. A view has the columns that its table had when it was made, so it is made again.

ALTER TABLE detections ADD COLUMN IF NOT EXISTS canary Bool DEFAULT false AFTER version;

CREATE OR REPLACE VIEW detections_once AS
SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;
