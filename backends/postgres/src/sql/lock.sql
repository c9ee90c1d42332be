SELECT @schema@.take_locks($1, $2, $3)
