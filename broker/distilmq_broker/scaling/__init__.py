"""Workers by what runs need: more of them while batches wait, fewer while there is nothing to do."""
