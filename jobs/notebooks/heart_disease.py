# Databricks notebook source
# MAGIC %md
# MAGIC # Do classifiers gain from synthetic women?
# MAGIC A heart disease table has two men for each woman. A twin that holds only women, up to parity, is added to the rows
# MAGIC that train (`generate.balance`, additive). The study is `bench/study_heart.py`; run this from a checkout.

# COMMAND ----------

# MAGIC %pip install twinlake[ray,sweep,utility] scipy

# COMMAND ----------

dbutils.widgets.text("table", "/Volumes/main/default/twinlake/heart.csv", "Heart disease table (CSV)")
dbutils.widgets.text("seeds", "20", "Splits")

# COMMAND ----------

import os
import sys

sys.path.append(os.path.abspath("../../bench"))

import pandas as pd
from study_heart import FORMS, judged, summary

# COMMAND ----------

table = pd.read_csv(dbutils.widgets.get("table"))
seeds = range(int(dbutils.widgets.get("seeds")))
found = pd.concat(judged(table, form, seed) for form in FORMS for seed in seeds)
print(summary(found))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Each classifier
# MAGIC Accuracy by real rows and by real rows and synthetic women, mean over the splits.

# COMMAND ----------

found.groupby(["form", "group", "classifier"], sort=False)[["real", "both"]].mean()
