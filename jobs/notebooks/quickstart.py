# Databricks notebook source
# MAGIC %md
# MAGIC # A synthetic twin of a table
# MAGIC Profile, protect, train, generate and evaluate, on this cluster's own Spark session.

# COMMAND ----------

# MAGIC %pip install twinlake[ray]

# COMMAND ----------

dbutils.widgets.text("source", "samples.nyctaxi.trips", "Catalog table")
dbutils.widgets.text("run_dir", "/Volumes/main/default/twinlake/trips-twin", "Run folder")
dbutils.widgets.text("rows", "source", "Synthetic rows")

# COMMAND ----------

import twinlake

rows = dbutils.widgets.get("rows")
result = twinlake.run(
    {
        "run": {"name": "trips-twin", "dir": dbutils.widgets.get("run_dir")},
        "source": {"table": dbutils.widgets.get("source")},
        "generate": {"rows": rows if rows == "source" else int(rows)},
    },
    spark=spark,
)
print(result.summary())

# COMMAND ----------

displayHTML(result.report.read_text(encoding="utf-8"))

# COMMAND ----------

# MAGIC %md
# MAGIC ## One stage at a time
# MAGIC Each verb takes and gives plain values, and shows itself.

# COMMAND ----------

df = spark.table(dbutils.widgets.get("source"))
statistics = twinlake.profile(df)
labels = twinlake.classify(df)
labels
