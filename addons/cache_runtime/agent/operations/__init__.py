"""Operations on Datasets: one state machine, and what is particular to each kind."""
