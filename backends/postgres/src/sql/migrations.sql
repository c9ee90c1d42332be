SELECT number FROM @schema@.migrations ORDER BY number
