"""What Yahoo calls exchanges, indices and classes of shares, and the calendars they trade by."""

import re
from typing import Any

PROVIDER = "yfinance"
_SUFFIXES = """
L XLON, IL XLON, XC XLON, AQ XLON, DE XETR, F XFRA, BE XFRA, BM XFRA, MU XFRA, HA XFRA, DU XDUS,
HM XHAM, SG XSTU, PA XPAR, NX XPAR, AS XAMS, BR XBRU, MI XMIL, TI XMIL, MC XMAD, LS XLIS,
SW XSWX, VI XWBO, IR XDUB,
AT ASEX, ST XSTO, HE XHEL, CO XCSE, IC XICE, OL XOSL, TL XTAL, RG XRIS, VS XLIT, WA XWAR, PR XPRA,
BD XBUD, RO XBSE, IS XIST, ME XMOS, TA XTAE, SR XSAU, SAU XSAU, JO XJSE, T XTKS, HK XHKG, SS XSHG,
SZ XSHG, TW XTAI, TWO XTAI, KS XKRX, KQ XKRX, SI XSES, KL XKLS, BK XBKK, JK XIDX, PS XPHS, NS XBOM,
BO XBOM, KA XKAR, AX XASX, XA XASX, NZ XNZE, TO XTSE, V XTSE, CN XTSE, NE XTSE, SA BVMF, MX XMEX,
BA XBUE, SN XSGO, CL XBOG, LM XLIM
"""
CALENDARS: dict[str, str] = dict(pair.split() for pair in _SUFFIXES.split(","))
"""The calendar of an exchange, after what follows the dot of Yahoo's symbols."""
WITHOUT_SUFFIX = {
    "XNYS": "symbols without a suffix",
    "24/5": "currencies, known by their kind",
    "24/7": "coins, known by their kind",
    "AIXK": "Yahoo has no shares of Astana",
    "XBEL": "Yahoo has no shares of Belgrade",
    "XBDA": "Yahoo has no shares of Bermuda",
    "XBRA": "Yahoo has no shares of Bratislava",
    "XCYS": "Yahoo has no shares of Cyprus",
    "XLJU": "Yahoo has no shares of Ljubljana",
    "XLUX": "Yahoo has no shares of Luxembourg",
    "XZAG": "Yahoo has no shares of Zagreb",
    "XEUR": "derivatives of Eurex",
    "XEEE": "energy",
    "CMES": "futures",
    "IEPA": "futures",
    "XCBF": "futures",
    "us_futures": "futures",
}
"""Calendars that no suffix leads to, and why."""

_INDICES = """
FTSE XLON, FTMC XLON, FTAS XLON, GDAXI XETR, MDAXI XETR, SDAXI XETR, TECDAX XETR, FCHI XPAR,
SBF120 XPAR, N100 XPAR, STOXX50E XPAR, STOXX XPAR, AEX XAMS, BFX XBRU, IBEX XMAD, SSMI XSWX,
ATX XWBO, OMX XSTO, OMXC25 XCSE, OMXH25 XHEL, ISEQ XDUB, N225 XTKS, HSI XHKG, HSCE XHKG, KS11 XKRX,
KQ11 XKRX, TWII XTAI, BSESN XBOM, NSEI XBOM, NSEBANK XBOM, STI XSES, JKSE XIDX, KLSE XKLS,
AXJO XASX, AORD XASX, NZ50 XNZE, GSPTSE XTSE, BVSP BVMF, MXX XMEX, MERV XBUE, IPSA XSGO
"""
INDICES: dict[str, str] = {f"^{n}": c for n, c in (p.split() for p in _INDICES.split(","))}
"""The calendar of indices, by Yahoo's symbols."""
_EXCHANGES = """
NMS XNYS, NGM XNYS, NCM XNYS, NYQ XNYS, ASE XNYS, PCX XNYS, BTS XNYS, PNK XNYS, TOR XTSE, VAN XTSE,
SAO BVMF, MEX XMEX, BUE XBUE, SGO XSGO, GER XETR, FRA XFRA, STU XSTU, PAR XPAR, AMS XAMS,
BRU XBRU, LIS XLIS, MCE XMAD, MIL XMIL, EBS XSWX, VIE XWBO, ISE XDUB, ATH ASEX, STO XSTO, HEL XHEL,
CPH XCSE, OSL XOSL, WSE XWAR, TLV XTAE, SAU XSAU, JNB XJSE, JPX XTKS, HKG XHKG, SHH XSHG, SHZ XSHG,
KSC XKRX, KOE XKRX, TAI XTAI, NSI XBOM, SES XSES, KLS XKLS, SET XBKK, NZE XNZE
"""
EXCHANGES: dict[str, str] = dict(pair.split() for pair in _EXCHANGES.split(","))
"""The calendar of an exchange, by the codes that Yahoo has for exchanges."""
_ZONES = """
America/New_York XNYS, America/Chicago XNYS, America/Toronto XTSE, America/Sao_Paulo BVMF,
America/Mexico_City XMEX, America/Buenos_Aires XBUE, America/Argentina/Buenos_Aires XBUE,
America/Santiago XSGO, America/Bogota XBOG, America/Lima XLIM, Europe/London XLON,
Europe/Dublin XDUB, Europe/Berlin XETR, Europe/Paris XPAR, Europe/Amsterdam XAMS,
Europe/Brussels XBRU, Europe/Lisbon XLIS, Europe/Madrid XMAD, Europe/Rome XMIL, Europe/Zurich XSWX,
Europe/Vienna XWBO, Europe/Athens ASEX, Europe/Stockholm XSTO, Europe/Helsinki XHEL,
Europe/Copenhagen XCSE, Europe/Oslo XOSL, Atlantic/Reykjavik XICE, Europe/Tallinn XTAL,
Europe/Riga XRIS, Europe/Vilnius XLIT, Europe/Warsaw XWAR, Europe/Prague XPRA,
Europe/Budapest XBUD, Europe/Bucharest XBSE, Europe/Istanbul XIST, Europe/Moscow XMOS,
Asia/Jerusalem XTAE, Asia/Riyadh XSAU, Africa/Johannesburg XJSE, Asia/Karachi XKAR,
Asia/Kolkata XBOM, Asia/Calcutta XBOM, Asia/Bangkok XBKK, Asia/Jakarta XIDX, Asia/Kuala_Lumpur XKLS,
Asia/Singapore XSES, Asia/Manila XPHS, Asia/Hong_Kong XHKG, Asia/Shanghai XSHG, Asia/Taipei XTAI,
Asia/Seoul XKRX, Asia/Tokyo XTKS, Australia/Sydney XASX, Pacific/Auckland XNZE
"""
ZONES: dict[str, str] = dict(pair.split() for pair in _ZONES.split(","))
"""The calendar of what has no suffix, indices above all, by the zone that Yahoo states."""

_PREFIXES = """
LON L, LSE L, ETR DE, XETR DE, XETRA DE, FRA F, FWB F, EPA PA, AMS AS, EBR BR, BIT MI, MIL MI,
BME MC, ELI LS, SWX SW, SIX SW, VIE VI, STO ST, HEL HE, CPH CO, OSL OL, WSE WA, TYO T, HKG HK,
HKEX HK, SEHK HK, SHA SS, SHE SZ, SZSE SZ, KRX KS, KOSDAQ KQ, TPE TW, TWSE TW, NSE NS, BOM BO,
BSE BO, ASX AX, TSX TO, TSXV V, SGX SI, BVMF SA, BMFBOVESPA SA, JSE JO
"""
PREFIXES: dict[str, str] = dict(pair.split() for pair in _PREFIXES.split(","))
"""Yahoo's suffix for what others write before a colon: TSE is of Tokyo or of Toronto, and none."""
AMERICAN = ("NASDAQ", "NYSE", "AMEX", "NYSEAMERICAN", "NYSEARCA", "ARCA", "BATS", "CBOE", "OTC")
_CLASS = re.compile(r"([A-Z]{1,5})(?:([./])([A-Z]|WS)|[$^]([A-Z]?))")
"""A class, unit, warrant or preferred share as American lists write it: BRK.B, BRK/B, ABR$D."""
_ENDINGS = {"U": "UN", "W": "WT", "WS": "WT"}
"""What Yahoo calls units and warrants; other letters are classes."""
_REUTERS = "NO"
"""What Reuters puts behind the tickers of New York and of NASDAQ; no class has these letters."""


def calendar_of(symbol: str, zone: Any) -> str | None:
    """Return the calendar of what trades with pauses, None where there is none."""
    if symbol in INDICES:
        return INDICES[symbol]
    if "." in symbol:
        return CALENDARS.get(symbol.rpartition(".")[2])
    return ZONES.get(str(zone))


def of_prefixed(ticker: str) -> str:
    """Return what Yahoo calls NASDAQ:AAPL, LON:VOD or HKG:700; a ticker without prefix as it is."""
    exchange, _, plain = ticker.partition(":")
    if exchange in AMERICAN and plain:
        return of_american_class(plain, sure=True) or plain
    if exchange not in PREFIXES or not plain:
        return ticker
    if exchange in ("HKG", "HKEX", "SEHK"):
        plain = plain.zfill(4)
    return f"{plain.replace('.', '-').rstrip('-')}.{PREFIXES[exchange]}"


def of_american_class(ticker: str, *, sure: bool) -> str | None:
    """Return what Yahoo calls an American class of shares: BRK-B for BRK.B; None for all else.

    L, F, T and V are exchanges, too: of these it has to be `sure` that the share is American.
    """
    parts = _CLASS.fullmatch(ticker)
    if parts is None:
        return None
    stem, mark, letter, series = parts.groups()
    if letter is None:
        return f"{stem}-P{series}"
    if mark == "." and letter in _REUTERS:
        return stem
    if mark == "." and letter in CALENDARS and not sure:
        return None
    return f"{stem}-{_ENDINGS.get(letter, letter)}"
