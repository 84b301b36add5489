"""GRU4Rec, SASRec, BERT4Rec over an item table and an optional user term."""
