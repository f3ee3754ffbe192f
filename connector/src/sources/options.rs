//! Options of object stores: what an address may say, what only the operator's file may, and who the node is to the store.

use anyhow::bail;
use serde_json::{Map, Value as Json};

/// Options that may stand in an address beside credentials of its own: where the data is, and how it is asked for.
const OPEN: [&str; 13] = [
    "account_name",
    "allow_http",
    "base_url",
    "default_region",
    "endpoint",
    "endpoint_url",
    "region",
    "request_payer",
    "session_token",
    "skip_signature",
    "storage_account_name",
    "storage_endpoint",
    "virtual_hosted_style_request",
];
/// Credentials.
const CREDENTIALS: [&str; 12] = [
    "access_key",
    "access_key_id",
    "account_key",
    "bearer_token",
    "master_key",
    "sas_key",
    "sas_token",
    "secret_access_key",
    "storage_access_key",
    "storage_account_key",
    "storage_sas_key",
    "storage_sas_token",
];
/// Options that say to whom the store is asked to send.
const ENDPOINTS: [&str; 4] = ["base_url", "endpoint", "endpoint_url", "storage_endpoint"];
/// Beginnings of options that name an identity of the operator's, for which the client fetches a token by itself.
const IDENTITIES: [&str; 20] = [
    "application_credentials",
    "client_id",
    "client_secret",
    "container_credentials",
    "credential_type",
    "fabric_",
    "federated_token_file",
    "identity_endpoint",
    "imdsv1_fallback",
    "metadata_endpoint",
    "msi_",
    "object_id",
    "role_arn",
    "service_account",
    "storage_client_id",
    "storage_client_secret",
    "storage_token",
    "token",
    "use_azure_cli",
    "web_identity_token_file",
];

/// What the client of the store at `url` is given: the options of the address, then those of the operator's file. Where
/// neither has credentials, and the file names no identity, the node is nobody to the store and not whoever the machine is to
/// its cloud; `SKIP_SIGNATURE=false` in the file says that it is.
///
/// # Errors
/// An option may not stand in an address.
pub(super) fn combined(
    url: &url::Url,
    open: Map<String, Json>,
    file: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    // The client of the store would read files, ask the machine's cloud for its identity or start programs, and send what
    // comes of it to wherever the other options say.
    if let Some(name) = open.keys().find(|name| !may_be_open(name)) {
        bail!(
            "dataAddress.options: `{name}` may not stand in an address; say it in the file of dataAddress.secretFile, which \
             is the operator's"
        );
    }
    let has_identity = file.iter().any(|(name, value)| is_identity(name, value));
    if has_identity && let Some(name) = open.keys().find(|name| ENDPOINTS.contains(&bare(name).as_str())) {
        bail!(
            "dataAddress.options: `{name}` may not stand in an address whose secretFile names an identity of this machine or of \
             a service; where that identity is shown is said in the same file"
        );
    }
    let mut options: Vec<_> = open.into_iter().map(|(name, value)| (name, text(value))).collect();
    options.extend(file);
    let has_credentials = options.iter().any(|(name, _)| CREDENTIALS.contains(&bare(name).as_str()));
    if !has_credentials && !has_identity {
        let option = match url.scheme() {
            "az" => "azure_skip_signature",
            "gs" => "google_skip_signature",
            _ => "aws_skip_signature",
        };
        options.push((option.to_owned(), "true".to_owned()));
    }
    Ok(options)
}

fn text(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// An option without the name of its cloud.
fn bare(option: &str) -> String {
    let name = option.to_ascii_lowercase();
    let bare = ["aws_", "azure_", "google_"].iter().find_map(|cloud| name.strip_prefix(cloud));
    bare.unwrap_or(&name).to_owned()
}

fn may_be_open(option: &str) -> bool {
    let name = bare(option);
    OPEN.contains(&name.as_str()) || CREDENTIALS.contains(&name.as_str())
}

fn is_identity(option: &str, value: &str) -> bool {
    let name = bare(option);
    let is_machine = name == "skip_signature" && value.eq_ignore_ascii_case("false");
    is_machine || IDENTITIES.iter().any(|one| name.starts_with(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(scheme: &str, open: Json, file: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let url = format!("{scheme}://bucket/key").parse().unwrap();
        let file = file.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        combined(&url, open.as_object().unwrap().clone(), file).map_err(|error| error.to_string())
    }

    fn is_nobody(scheme: &str, open: Json, file: &[(&str, &str)]) -> bool {
        let (name, value) = options(scheme, open, file).unwrap().pop().unwrap_or_default();
        name.ends_with("_skip_signature") && value == "true"
    }

    #[test]
    fn without_credentials_the_node_is_nobody_to_a_store() {
        use serde_json::json;
        for scheme in ["s3", "az", "gs"] {
            assert!(is_nobody(scheme, json!({}), &[]));
            assert!(is_nobody(scheme, json!({"AWS_REGION": "eu-west-1", "skip_signature": "false"}), &[]));
            // A file that says where, but not who.
            assert!(is_nobody(scheme, json!({}), &[("AWS_ENDPOINT_URL", "https://s3.city")]));
            assert!(!is_nobody(scheme, json!({}), &[("AWS_SKIP_SIGNATURE", "false")]));
        }
        // Half of a credential is none: the client passes over a token that stands alone and asks its cloud.
        assert!(is_nobody("s3", json!({"aws_session_token": "t"}), &[]));
        assert!(is_nobody("s3", json!({}), &[("AWS_SESSION_TOKEN", "t")]));
        assert!(!is_nobody("s3", json!({"aws_access_key_id": "a", "aws_secret_access_key": "s"}), &[]));
        assert!(!is_nobody("az", json!({"account_name": "city"}), &[("AZURE_STORAGE_ACCOUNT_KEY", "k")]));
        assert!(!is_nobody("gs", json!({}), &[("GOOGLE_APPLICATION_CREDENTIALS", "/etc/google.json")]));
    }

    #[test]
    fn an_identity_is_shown_where_the_operator_says() {
        use serde_json::json;
        for (scheme, identity) in [
            ("s3", ("AWS_ROLE_ARN", "arn:x")),
            ("s3", ("AWS_SKIP_SIGNATURE", "false")),
            ("az", ("AZURE_CLIENT_SECRET", "s")),
            ("az", ("AZURE_USE_AZURE_CLI", "true")),
            ("gs", ("GOOGLE_SERVICE_ACCOUNT", "/etc/google.json")),
        ] {
            for endpoint in ["aws_endpoint", "AWS_ENDPOINT_URL", "azure_storage_endpoint", "google_base_url"]
            {
                let refused = options(scheme, json!({endpoint: "https://mallory.example"}), &[identity]);
                assert!(refused.unwrap_err().contains("said in the same file"), "{scheme} {endpoint}");
            }
            assert!(options(scheme, json!({"region": "eu"}), &[identity]).is_ok());
            let name = json!({identity.0: identity.1});
            let own = options(scheme, name, &[]);
            assert!(own.is_err() || identity.0 == "AWS_SKIP_SIGNATURE", "{identity:?}");
        }
    }
}
