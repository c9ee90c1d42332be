SELECT log FROM @schema@.rebuilds WHERE log = $1 FOR UPDATE
