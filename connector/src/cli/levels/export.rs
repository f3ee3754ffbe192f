//! What is owed, as a table and as an invoice.

use anyhow::{Context as _, bail};
use quick_xml::escape::escape;
use serde::Serialize;
use serde_json::Value;

use super::super::output::{plain, text};
use super::super::{Exit, Failed};
use crate::shown;

/// An amount that is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Owed {
    agreement: String,
    period: u64,
    from: String,
    until: String,
    level: String,
    owed_by: String,
    owed_to: String,
    remedy: String,
    amount: String,
    #[serde(skip)]
    cents: u64,
    currency: String,
    state: String,
    waived: bool,
}

fn cents_of(one: &Value) -> u64 {
    one.get("cents").and_then(Value::as_u64).unwrap_or_default()
}

fn decimal(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The amount of a breach, in words.
pub(super) fn amount(found: &Value, breach: &Value) -> String {
    let currency = found.pointer("/levels/currency").and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", decimal(cents_of(breach)), plain(currency)).trim_end().to_owned()
}

/// Every breach with an amount.
pub(super) fn owed(found: &Value) -> Vec<Owed> {
    let (provider, consumer) = (text(found, "provider"), text(found, "consumer"));
    let currency = found.pointer("/levels/currency").and_then(Value::as_str).unwrap_or_default();
    let mut all = Vec::new();
    for period in found.get("periods").and_then(Value::as_array).into_iter().flatten() {
        let attainment = period.get("attainment").cloned().unwrap_or_default();
        let breaches = period.get("breaches").and_then(Value::as_array).into_iter().flatten();
        for breach in breaches.filter(|one| cents_of(one) > 0) {
            let by_provider = text(breach, "owedBy") == "provider";
            let (owed_by, owed_to) = if by_provider {
                (provider.clone(), consumer.clone())
            } else {
                (consumer.clone(), provider.clone())
            };
            all.push(Owed {
                agreement: text(found, "agreement"),
                period: period.get("period").and_then(Value::as_u64).unwrap_or_default(),
                from: text(&attainment, "from"),
                until: text(&attainment, "until"),
                level: text(breach, "level"),
                owed_by,
                owed_to,
                remedy: text(breach, "remedy"),
                amount: decimal(cents_of(breach)),
                cents: cents_of(breach),
                currency: currency.to_owned(),
                state: text(period, "state"),
                waived: breach.get("waived").is_some(),
            });
        }
    }
    all
}

/// One line for each.
pub(super) fn csv(owed: &[Owed]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for one in owed {
        // What a spreadsheet would take for a formula is text.
        let safe = |text: &str| shown::cell(text).into_owned();
        writer.serialize(Owed {
            agreement: safe(&one.agreement),
            from: safe(&one.from),
            until: safe(&one.until),
            level: safe(&one.level),
            owed_by: safe(&one.owed_by),
            owed_to: safe(&one.owed_to),
            remedy: safe(&one.remedy),
            currency: safe(&one.currency),
            state: safe(&one.state),
            ..one.clone()
        })?;
    }
    Ok(String::from_utf8(writer.into_inner().context("writing CSV")?)?)
}

/// An invoice of the party to which more is owed.
pub(super) fn ubl(found: &Value, owed: &[Owed]) -> anyhow::Result<String> {
    let due: Vec<_> = owed.iter().filter(|one| !one.waived && one.state != "disputed").collect();
    let provider = text(found, "provider");
    let sum = |of: &dyn Fn(&&&Owed) -> bool| due.iter().filter(of).map(|one| one.cents).sum::<u64>();
    let by_provider = sum(&|one| one.owed_by == provider);
    let by_consumer = sum(&|one| one.owed_by != provider);
    let debtor = if by_provider >= by_consumer { provider.clone() } else { text(found, "consumer") };
    let lines: Vec<_> = due.into_iter().filter(|one| one.owed_by == debtor).collect();
    let Some(first) = lines.first() else {
        bail!(Failed::new(Exit::Refused, "nothing is owed that is neither waived nor disputed"));
    };
    let (currency, total) = (escape(&first.currency), decimal(lines.iter().map(|one| one.cents).sum()));
    let date =
        lines.iter().map(|one| one.until.as_str()).max().and_then(|at| at.get(..10)).unwrap_or_default();
    let party = |role: &str, did: &str| {
        let did = escape(did);
        format!(
            "<cac:{role}><cac:Party><cac:PartyIdentification><cbc:ID>{did}</cbc:ID></cac:PartyIdentification>\
             <cac:PartyLegalEntity><cbc:RegistrationName>{did}</cbc:RegistrationName></cac:PartyLegalEntity></cac:Party></cac:{role}>"
        )
    };
    let line = |(number, one): (usize, &&Owed)| {
        format!(
            "  <cac:InvoiceLine><cbc:ID>{}</cbc:ID><cbc:InvoicedQuantity unitCode=\"C62\">1</cbc:InvoicedQuantity>\
             <cbc:LineExtensionAmount currencyID=\"{currency}\">{}</cbc:LineExtensionAmount>\
             <cac:InvoicePeriod><cbc:StartDate>{}</cbc:StartDate><cbc:EndDate>{}</cbc:EndDate></cac:InvoicePeriod>\
             <cac:Item><cbc:Name>Service level {} missed in period {}</cbc:Name>\
             <cac:ClassifiedTaxCategory><cbc:ID>O</cbc:ID><cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:ClassifiedTaxCategory></cac:Item>\
             <cac:Price><cbc:PriceAmount currencyID=\"{currency}\">{}</cbc:PriceAmount></cac:Price></cac:InvoiceLine>\n",
            number + 1,
            one.amount,
            one.from.get(..10).unwrap_or_default(),
            one.until.get(..10).unwrap_or_default(),
            escape(&one.level),
            one.period,
            one.amount,
        )
    };
    let body: String = lines.iter().enumerate().map(line).collect();
    let number = format!(
        "{}-{}-{}",
        text(found, "agreement"),
        lines.first().map_or(0, |one| one.period),
        lines.last().map_or(0, |one| one.period)
    );
    let invoice = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Invoice xmlns=\"urn:oasis:names:specification:ubl:schema:xsd:Invoice-2\" \
         xmlns:cac=\"urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2\" \
         xmlns:cbc=\"urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2\">\n\
         \x20 <cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID>\n\
         \x20 <cbc:ID>{}</cbc:ID>\n  <cbc:IssueDate>{date}</cbc:IssueDate>\n  <cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>\n\
         \x20 <cbc:DocumentCurrencyCode>{currency}</cbc:DocumentCurrencyCode>\n\
         \x20 <cac:ContractDocumentReference><cbc:ID>{}</cbc:ID></cac:ContractDocumentReference>\n  {}\n  {}\n\
         \x20 <cac:TaxTotal><cbc:TaxAmount currencyID=\"{currency}\">0.00</cbc:TaxAmount></cac:TaxTotal>\n\
         \x20 <cac:LegalMonetaryTotal><cbc:LineExtensionAmount currencyID=\"{currency}\">{total}</cbc:LineExtensionAmount>\
         <cbc:TaxExclusiveAmount currencyID=\"{currency}\">{total}</cbc:TaxExclusiveAmount>\
         <cbc:TaxInclusiveAmount currencyID=\"{currency}\">{total}</cbc:TaxInclusiveAmount>\
         <cbc:PayableAmount currencyID=\"{currency}\">{total}</cbc:PayableAmount></cac:LegalMonetaryTotal>\n{body}</Invoice>\n",
        escape(&number),
        escape(text(found, "agreement")),
        party("AccountingSupplierParty", &first.owed_to),
        party("AccountingCustomerParty", &debtor),
    );
    Ok(shown::xml(&invoice).into_owned())
}
