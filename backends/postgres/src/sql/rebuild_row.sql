INSERT INTO @schema@.rebuilds (log) VALUES ($1) ON CONFLICT (log) DO NOTHING
