-- How long after its call was appended a detection was made, where that is so long that the breach is an old one; 0: in
-- time. A view has the columns that its table had when it was made, so it is made again.

ALTER TABLE detections ADD COLUMN IF NOT EXISTS late_ns Int64 DEFAULT 0 AFTER step;

CREATE OR REPLACE VIEW detections_once AS
SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;
