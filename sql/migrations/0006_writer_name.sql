-- Who held the writer's lock last: a server whose own taking of it was never answered does not count as another one.
ALTER TABLE filed ADD COLUMN writer uuid;
