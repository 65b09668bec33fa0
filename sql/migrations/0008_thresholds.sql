-- What an asset's fixes are flagged by, as far as it differs from the defaults: max_speed_mps, max_accuracy_m.
ALTER TABLE asset ADD COLUMN thresholds jsonb NOT NULL DEFAULT '{}';
