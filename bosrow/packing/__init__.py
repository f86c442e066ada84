"""How documents become rows: pure functions of lengths, one class a policy, and the table of them."""
