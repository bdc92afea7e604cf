# Databricks notebook source
# MAGIC %md
# MAGIC # What do classifiers lose that learn from a twin?
# MAGIC Five tables, eight classifiers, trained on the twin and asked real rows that were held back; beside it the synthetic
# MAGIC tables that were published for the same five. The study is `bench/study_accuracy.py`; run this from a checkout.

# COMMAND ----------

# MAGIC %pip install twinlake[ray,utility] scipy

# COMMAND ----------

dbutils.widgets.text("data", "/Volumes/main/default/twinlake/studies", "Folder of the five tables")

# COMMAND ----------

import os
import sys
from pathlib import Path

sys.path.append(os.path.abspath("../../bench"))

import pandas as pd
from language import TABLES
from study_accuracy import judged, summary

# COMMAND ----------

data = Path(dbutils.widgets.get("data"))
found = pd.concat(judged(data / name, name) for name in TABLES)
print(summary(found))

# COMMAND ----------

found
