"""Reality checks: losses beside each other under one budget, after Musgrave, Belongie and Lim.

"A Metric Learning Reality Check" (ECCV 2020) found that most of what losses were said to gain over each
other was gained otherwise: by unequal tuning, by other encoders, by choosing on the test part, from one
seed. So here each loss gets the same number of trials over the same encoders and factors, its best
configuration is chosen on validation, trained afresh with several seeds, and scored on the test part once
each. `file` reads what is asked and makes one study a loss; `run` runs them; `outcome` says what came of it.
"""
