"""How the budget is spent: what is tried next, and what is given up early."""
