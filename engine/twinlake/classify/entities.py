"""The names of all entities, by the group that a policy or a reader may think in. Holds no detection.

Names are the field's (Presidio style). A national id has the name of its country's scheme; `GENERAL` says which general
entity it is a case of, so that a rule or a comparison may speak of NATIONAL_ID and mean all of them.
"""

from __future__ import annotations

NATIONAL_IDS: tuple[str, ...] = (
    "US_SSN", "CA_SIN", "UK_NINO", "IE_PPS", "ES_NIF", "ES_NIE", "FR_NIR", "IT_FISCAL_CODE", "NL_BSN", "BE_NRN", "PT_CC",
    "CH_AHV", "SE_PERSONNUMMER", "NO_FODSELSNUMMER", "DK_CPR", "FI_PERSONAL_IDENTITY_CODE", "EE_IK", "LT_ASMENS", "PL_PESEL",
    "CZ_RC", "RO_CNP", "BG_EGN", "HR_OIB", "TR_TCKN", "ZA_ID", "CN_RIC", "KR_RRN", "IN_AADHAAR", "TH_TNIN", "MY_NRIC",
    "SG_NRIC_FIN", "TW_ID", "CL_RUT", "MX_CURP", "IL_ID",
)  # fmt: skip
"""Numbers that a country gives to a person."""
TAX_IDS: tuple[str, ...] = (
    "US_ITIN", "US_EIN", "EU_VAT", "DE_TAX_ID", "UK_UTR", "BR_CPF", "BR_CNPJ", "MX_RFC", "AR_CUIT", "IN_PAN", "AU_TFN",
    "AU_ABN", "RU_INN",
)  # fmt: skip
"""Numbers by which a country taxes people and firms."""
CREDENTIALS: tuple[str, ...] = (
    "AWS_ACCESS_KEY", "GCP_CREDENTIALS", "GOOGLE_API_KEY", "AZURE_STORAGE_KEY", "GITHUB_TOKEN", "SLACK_TOKEN",
    "STRIPE_API_KEY", "SQUARE_API_KEY", "SENDGRID_API_KEY", "TWILIO_API_KEY", "FACEBOOK_TOKEN", "JWT", "PRIVATE_KEY",
    "API_KEY", "PASSWORD_HASH", "PASSWORD",
)  # fmt: skip
"""What opens something: keys of clouds and vendors, tokens, passwords."""
GROUPS: dict[str, tuple[str, ...]] = {
    "person": ("PERSON", "FIRST_NAME", "LAST_NAME", "TITLE"),
    "contact": (
        "EMAIL_ADDRESS", "PHONE_NUMBER", "FAX_NUMBER", "USER_NAME", "SOCIAL_HANDLE", "STREET_ADDRESS", "ADDRESS", "CITY",
        "COUNTY", "US_STATE", "POSTAL_CODE", "COUNTRY", "LOCATION", "LATITUDE", "LONGITUDE", "COORDINATES", "PLUS_CODE",
    ),
    "identity": (
        *NATIONAL_IDS, *TAX_IDS, "NATIONAL_ID", "TAX_ID", "PASSPORT", "DRIVER_LICENSE", "LICENSE_NUMBER", "CUSTOMER_ID",
        "EMPLOYEE_ID", "USER_ID",
    ),
    "finance": (
        "CREDIT_CARD", "CVV", "CARD_EXPIRY", "PIN", "IBAN_CODE", "SWIFT_CODE", "ABA_ROUTING_NUMBER", "BANK_ACCOUNT",
        "CRYPTO", "SALARY",
    ),
    "health": (
        "MEDICAL_RECORD_NUMBER", "HEALTH_PLAN_NUMBER", "UK_NHS", "AU_MEDICARE", "US_MBI", "US_NPI", "MEDICAL_LICENSE",
        "ICD9_CODE", "ICD10_CODE", "BLOOD_TYPE",
    ),
    "device": (
        "IP_ADDRESS", "MAC_ADDRESS", "IMEI", "IMSI", "DEVICE_ID", "BIOMETRIC_ID", "HOSTNAME", "DOMAIN_NAME", "URL",
        "HTTP_COOKIE", "UUID", "MD5", "SHA1", "SHA256", "SHA512",
    ),
    "vehicle": ("VIN", "LICENSE_PLATE"),
    "credential": CREDENTIALS,
    "demographic": (
        "BIRTH_DATE", "AGE", "GENDER", "SEXUALITY", "RACE", "NATIONALITY", "RELIGION", "POLITICAL_VIEW", "LANGUAGE",
        "MARITAL_STATUS", "JOB_TITLE", "EMPLOYMENT_STATUS", "ORGANIZATION", "EDUCATION",
    ),
    "time": ("DATE_TIME",),
}  # fmt: skip
NOT_TELLING: frozenset[str] = frozenset(
    {*GROUPS["demographic"], *GROUPS["time"], "TITLE", "COUNTRY", "US_STATE", "BLOOD_TYPE", "SALARY"} - {"BIRTH_DATE"}
)
"""What tells no one apart when it stands inside a text: "Doctorate (PhD)" is a level of education, and nobody."""
ENTITIES: tuple[str, ...] = tuple(entity for group in GROUPS.values() for entity in group)
GENERAL: dict[str, str] = {
    **dict.fromkeys(NATIONAL_IDS, "NATIONAL_ID"),
    **dict.fromkeys(TAX_IDS, "TAX_ID"),
    **dict.fromkeys((c for c in CREDENTIALS if not c.startswith("PASSWORD")), "API_KEY"),
    "FAX_NUMBER": "PHONE_NUMBER",
    "UK_NHS": "HEALTH_PLAN_NUMBER",
    "AU_MEDICARE": "HEALTH_PLAN_NUMBER",
    "US_MBI": "HEALTH_PLAN_NUMBER",
}
"""Entity -> the general entity that it is a case of."""


def means(selector: str, entity: str) -> bool:
    """Whether `selector` stands for `entity`: its name, its general one (`NATIONAL_ID`), or its group (`finance/*`)."""
    if selector.endswith("/*"):
        return entity in GROUPS.get(selector[:-2], ())
    return selector in (entity, GENERAL.get(entity))
