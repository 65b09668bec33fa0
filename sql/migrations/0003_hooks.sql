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
-- The log of a hook, newest first, each state for itself: the few that are pending or dead are found among the many that
-- were delivered. By -id, so that the planner cannot take the primary key for the order and walk past all of those.
DROP INDEX delivery_hook;
CREATE INDEX delivery_log ON delivery (hook, state, (-id));
