-- What an operator proposes that takes two: the order and its signed approval, JSON, so that whoever reads the
-- queue can agree. Empty for every other decision. A view has the columns that its table had when it was made, so it is
-- made again.

ALTER TABLE decisions ADD COLUMN IF NOT EXISTS proposal String AFTER revocation;

CREATE OR REPLACE VIEW decisions_once AS
SELECT * FROM decisions ORDER BY ingested_at, partition, offset, part LIMIT 1 BY id, verdict;
