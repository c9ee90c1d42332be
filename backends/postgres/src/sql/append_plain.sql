-- A batch that takes no identities, checks nothing but what it writes, and has nothing to do with keys.
SELECT @schema@.append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)
