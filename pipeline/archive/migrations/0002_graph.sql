-- What the access graph knew of the call that broke a detector, as JSON: docs/graph.md. A view has the
-- columns that its table had when it was made, so it is made again.

ALTER TABLE detections ADD COLUMN IF NOT EXISTS graph String CODEC(ZSTD) AFTER features;

CREATE OR REPLACE VIEW detections_once AS
SELECT * FROM detections ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id;
