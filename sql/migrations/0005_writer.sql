-- Whoever takes the writer's lock counts itself in: a server that lost the lock and has it again learns whether another one
-- wrote meanwhile, in which case nothing that it remembers is to be believed.
ALTER TABLE filed ADD COLUMN term bigint NOT NULL DEFAULT 0;
