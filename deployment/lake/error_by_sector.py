"""What Spark makes of an exported lake: error_by_sector.py LAKE ANSWERS MONTH, such as 2024-06.

Joins forecasts, bars and instruments, writes the mean error of every sector and method to
ANSWERS/errors, and the bars of one month to ANSWERS/bars, a folder for each ticker, for
`stockbatch tickers add --all --provider parquet:ANSWERS/bars`.
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

lake, answers, month = sys.argv[1:]
spark = SparkSession.builder.appName("stockbatch").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
bars = spark.read.parquet(f"{lake}/bars").drop("year", "month")
forecasts = spark.read.parquet(f"{lake}/forecast_history")
instruments = spark.read.parquet(f"{lake}/instruments")

# A forecast is on the basis of the session before: a bar that opens after a split is on another.
closes = bars.where("split IS NULL").select("ticker", "session", "close")
errors = (
    forecasts.join(closes, ["ticker", "session"])
    .join(instruments.select("ticker", "sector"), "ticker")
    .groupBy("sector", "method")
    .agg(
        f.count("*").alias("forecasts"),
        (100 * f.avg(f.abs(f.col("forecast_close") / f.col("close") - 1))).alias("error_pct"),
    )
    .orderBy("sector", "method")
)
errors.show(100, truncate=False)
errors.coalesce(1).write.mode("overwrite").parquet(f"{answers}/errors")

of_month = bars.where(f.date_format("session", "yyyy-MM") == month)
prices = ["open", "high", "low", "close", "volume"]
columns = ["ticker", "session", *prices, "split", "dividend", "price_basis"]
written = of_month.select(columns).repartition("ticker").write.partitionBy("ticker")
written.mode("overwrite").parquet(f"{answers}/bars")
print(f"bars read: {bars.count()}, of {month}: {of_month.count()}")
spark.stop()
