-- Tiles of history look at where sealed rows lie, of whole years, and open only those of which more can be seen.

-- Whether no fix has flags of its own: their column is as wide as nothing, and its least value is 0. Doubts are not looked at.
ALTER TABLE sealed ADD COLUMN unflagged boolean NOT NULL
    GENERATED ALWAYS AS (substring(bits FROM 649 FOR 8)::int & 63 = 0 AND substring(bits FROM 657 FOR 32)::int = 0) STORED;

-- Where a row lies is read from the index alone, which has a thirtieth of the bytes.
DROP INDEX sealed_asset;
CREATE INDEX sealed_asset ON sealed (asset, t0) INCLUDE (t1, n, west, south, east, north, unflagged);
