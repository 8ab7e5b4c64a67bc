"""Fine-tunes of Gemma 3 270M by stored bytes and by score: ``python -m tools.bench gemma``.

================  ====================================================================
``__main__.py``   the command
``_trial.py``     the fine-tunes and their bank; rows, each of which is made once
``_alone.py``     a task at a time: whole, compressed, learned, adapters
``_together.py``  all tasks in one model: merges, and routing of prompts
``_table.py``     the table
================  ====================================================================
"""
