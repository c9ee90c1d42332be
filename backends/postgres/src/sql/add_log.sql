INSERT INTO @schema@.logs (name, tenant) VALUES ($1, $2) ON CONFLICT (name, tenant) DO NOTHING
