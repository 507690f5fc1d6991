"""What the columns of a file of bars are called, in the languages that files are written in."""
# ruff: noqa: RUF001 (Turkish has letters that look like others)

import codecs
import re
from collections.abc import Mapping

NAMES: Mapping[str, tuple[str, ...]] = {
    "ticker": (
        *("ticker", "symbol", "tscode", "stockcode", "stocksymbol", "actsymbol", "secid"),
        *("tickersymbol", "tradingsymbol", "tckrsymb", "securitycode", "sccode", "permno"),
        *("code", "stock", "instrument", "ric"),
        *("股票代码", "证券代码", "代码", "股票代號", "證券代號", "代號", "代碼"),
        *("銘柄コード", "証券コード", "コード", "종목코드", "index", "name"),
    ),
    "session": (
        *("date", "timestamp", "session", "datetime", "day", "tradedate", "tradingdate"),
        *("tradingday", "pricedate", "traddt", "timestamps", "time", "t", "opentime"),
        *("windowstart", "timeopen", "gmttime", "localtime", "dateutc", "timeutc", "unix"),
        *("datum", "fecha", "data", "tarih", "дата"),
        *("交易日期", "日期", "交易日", "日期时间", "时间"),
        *("日付", "日付け", "日時", "날짜", "일자"),
    ),
    "open": (
        *("open", "openprice", "openingprice", "opnpric", "o"),
        *("eröffnung", "eröffnungskurs", "eröffn", "erster", "ouverture", "ouv", "apertura"),
        *("abertura", "opening", "otwarcie", "açılış", "acilis", "открытие", "откр"),
        *("开盘", "开盘价", "開盤", "開盤價", "始値", "시가"),
    ),
    "high": (
        *("high", "highprice", "hghpric", "h"),
        *("hoch", "tageshoch", "plushaut", "haut", "máximo", "maximo", "máxima", "maxima"),
        *("massimo", "hoog", "najwyższy", "najwyzszy", "yüksek", "yuksek", "максимум", "макс"),
        *("最高", "最高价", "最高價", "高値", "고가", "高"),
    ),
    "low": (
        *("low", "lowprice", "lwpric", "l"),
        *("tief", "tagestief", "plusbas", "bas", "mínimo", "minimo", "mínima", "minima"),
        *("laag", "najniższy", "najnizszy", "düşük", "dusuk", "минимум", "мин"),
        *("最低", "最低价", "最低價", "安値", "저가", "低"),
    ),
    "close": (
        *("close", "closelast", "closeprice", "closingprice", "clspric"),
        *("closecloseprice", "closeclosepriceadjustedforsplits", "last", "lastprice", "price", "c"),
        *("schlusskurs", "schluss", "schlußkurs", "zuletzt", "clôture", "cloture", "clot"),
        *("dernier", "cierre", "chiusura", "fechamento", "último", "ultimo", "slotkoers"),
        *("laatste", "zamknięcie", "zamkniecie", "kapanış", "kapanis", "şimdi", "simdi"),
        *("закрытие", "цена", "收盘", "收盘价", "收盤", "收盤價", "終値", "종가"),
    ),
    "volume": (
        *("volume", "vol", "v", "totaltradedquantity", "totaltradequantity", "sharestraded"),
        *("tottrdqty", "ttltradgvol", "noofshares", "noofshrs", "tradedvolume", "totalvolume"),
        *("tickvol", "tickvolume", "stücke", "stuecke", "stück", "volumen", "wolumen", "hacim"),
        *("hac", "объём", "объем", "成交量", "成交股數", "交易量", "出来高", "거래량"),
    ),
    "dividend": (
        *("dividendamount", "dividends", "dividend", "divcash", "exdividend", "cashdividend"),
        *("cashdividends", "dividendcash"),
    ),
    "split": (
        *("splitcoefficient", "splitratio", "splitfactor", "stocksplits", "stocksplit"),
        *("splits", "split"),
    ),
    "adjusted": (
        *("adjclose", "adjustedclose", "closeadj", "adjcloseprice", "closeadjusted", "adjusted"),
        *("調整後終値", "修正後終値", "수정종가"),
    ),
}
"""What a column may be called, best name first, in small letters and nothing but letters."""
REQUIRED = ("session", "open", "high", "low", "close")
AS_TRADED_SETS = ("original", "unadjusted", "unadj", "raw")
"""What stands before Open, High, Low and Close where those of the day stand beside others."""

ENCODINGS = ("gb18030", "cp932", "euc_kr", "big5", "euc_jp", "cp1252", "cp1250", "cp1251", "cp1254")
"""How files are written that are not UTF-8 or UTF-16."""
_FOREIGN = {name for names in NAMES.values() for name in names if not name.isascii()}


def plain(heading: str) -> str:
    """Return a heading without what does not matter: case, blanks, signs, (units), a number."""
    bare = re.sub(r"^\s*\d+\.\s*|[(\uff08][^)\uff09]*[)\uff09]", "", heading)
    return re.sub(r"[\W_]+", "", bare).lower()


def encoding_of(start: bytes) -> str | None:
    """Return how a file is written that begins so, if it is not UTF-8 and has known headings."""
    if _decoded(start, "utf-8") is not None:
        return None
    found = {}
    for encoding in ENCODINGS:
        cells = re.split(r"[,;\t|\r\n]", _decoded(start, encoding) or "")
        found[encoding] = len(_FOREIGN & {plain(cell) for cell in cells})
    best = max(ENCODINGS, key=lambda encoding: found[encoding])
    return best if found[best] else None


def _decoded(start: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return None
