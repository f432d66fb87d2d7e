"""An experiment's results in TensorBoard, MLflow and Weights & Biases, for people who live in these tools.

Nothing is read back from a tool: the ledger and the tables are the only truth, and what a tool holds can be written
again from them at any time (`python sweep/run.py log NAME --to TOOL`). So one thing does all the work: a writer brings
its tool to what a configuration's history says (`sweep.logs.history`), and knows by a run's id what is there already.
Written live (`sweep.logs.live`) or afterwards, once or five times, it comes to the same.

Ray's own callbacks (`ray.air.integrations`, its TensorBoard logger) are not used: they know a Tune trial and its last
result. A trial here is a pack of several runs, its per-language counts come once at its end and leave the result as
soon as they are written, and a trial that goes on after a restart is a new one to them: its steps would count twice.
"""
