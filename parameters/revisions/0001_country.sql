-- revision: 0001_country
-- revises: base
-- Users may say where they live

-- up
ALTER TABLE users ADD COLUMN country char(2);

-- verify
SELECT id, country FROM users WHERE country <> upper(country);

-- down
ALTER TABLE users DROP COLUMN country;
