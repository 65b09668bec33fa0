-- What the dispatcher of hooks needs to find its work in the table alone.

-- Since when nothing was delivered; null after a success.
ALTER TABLE hook ADD COLUMN failing_since timestamptz;

ALTER TABLE delivery
    ADD COLUMN refusals int NOT NULL DEFAULT 0,            -- of the attempts, those answered with a 4xx that waiting cannot cure
    ADD COLUMN first_attempt_at timestamptz,               -- of this series: a redelivery begins a new one
    ADD COLUMN redelivery boolean NOT NULL DEFAULT false;  -- asked for by hand: stands outside its asset's order

-- A lane is one hook and asset; its head is the first row here.
DROP INDEX delivery_pending;
CREATE INDEX delivery_lane ON delivery (hook, asset, event) WHERE state = 'pending' AND NOT redelivery;
-- Only heads and redeliveries are ever attempted, so this has one row for each lane in back-off, whatever waits behind it.
CREATE INDEX delivery_retry ON delivery (hook, due_at) WHERE state = 'pending' AND (attempts > 0 OR redelivery);
CREATE INDEX delivery_dead ON delivery (hook, id) WHERE state = 'dead';
