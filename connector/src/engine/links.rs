//! Pages that follow each other: the `Link` header of HTTP answers (RFC 8288).

use http::HeaderMap;
use http::header::LINK;
use url::Url;

/// The address of the next page after the one at `asked`, as the `Link` headers of its answer tell; `None` on the last page.
///
/// It is asked at the origin of `asked` whatever host the link names: a peer behind a proxy may know itself by another
/// name, and nobody else gets what is meant for this one.
///
/// # Errors
/// There is a next page, but its address cannot be read.
pub fn next_page(headers: &HeaderMap, asked: &str) -> Result<Option<String>, String> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = links.flat_map(links_of).find(|link| link.is_next()).map(|link| link.target) else {
        return Ok(None);
    };
    let unreadable = |error: String| format!("the next page after {asked} is said to be `{target}`, {error}");
    let asked = Url::parse(asked).map_err(|error| unreadable(error.to_string()))?;
    let target = asked.join(target).map_err(|error| unreadable(error.to_string()))?;
    if target.cannot_be_a_base() {
        return Err(unreadable("which is no page of a catalog".to_owned()));
    }
    let mut next = asked;
    next.set_path(target.path());
    next.set_query(target.query());
    next.set_fragment(None);
    Ok(Some(next.into()))
}

/// One link of a header.
struct Link<'h> {
    target: &'h str,
    parameters: Vec<(&'h str, String)>,
}

impl Link<'_> {
    fn is_next(&self) -> bool {
        // Only the first `rel` counts (section 3.3).
        let relation = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("rel"));
        relation.is_some_and(|(_, value)| {
            value.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case("next"))
        })
    }
}

/// The links of a header's value; what is no link ends it.
fn links_of(value: &str) -> impl Iterator<Item = Link<'_>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let after = rest.trim_start_matches([' ', '\t', ',']).strip_prefix('<')?;
        let (target, after) = after.split_once('>')?;
        let mut parameters = Vec::new();
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let after = after.trim_start();
            let end = after.find(['=', ';', ',']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            let (value, after) =
                after.strip_prefix('=').map_or((String::new(), after), |after| parameter(after.trim_start()));
            parameters.push((name.trim(), value));
            rest = after.trim_start();
        }
        Some(Link { target: target.trim(), parameters })
    })
}

/// The value of a parameter, quoted or not, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, one)) = chars.next() {
        match one {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            one => value.push(one),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(links: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(LINK, link.parse().unwrap());
        }
        next_page(&headers, "https://p.example:8443/dsp/2025-1/catalog/request")
    }

    #[test]
    fn the_next_page_is_found_however_it_is_written() {
        let at = |path: &str| Ok(Some(format!("https://p.example:8443{path}")));
        let page = "/dsp/2025-1/catalog/request?page=2";
        assert_eq!(next(&[]), Ok(None));
        assert_eq!(next(&["</a>; rel=\"previous\"", "</b>; rel=last; title=\"next\""]), Ok(None));
        assert_eq!(next(&[&format!("<{page}>; rel=\"next\"")]), at(page));
        assert_eq!(next(&["<?page=2>; rel=\"next\""]), at(page));
        assert_eq!(next(&["<https://p.example:8443/catalog?t=t>; rel=\"next\""]), at("/catalog?t=t"));
        let list =
            "</a>; rel=prev, <https://p.example:8443/dsp/2025-1/catalog/request?f=a,b&page=2>; rel=\"next\"";
        assert_eq!(next(&[list]), at("/dsp/2025-1/catalog/request?f=a,b&page=2"));
        assert_eq!(next(&[&format!("<{page}>; rel=\"next last\"")]), at(page));
        assert_eq!(next(&[&format!("<{page}>; title=\"a; b, \\\"c\\\"\"; rel=\"next\"")]), at(page));
        assert_eq!(next(&[&format!("<{page}> ; REL = NEXT")]), at(page));
        assert_eq!(
            next(&[&format!("</a>;rel=last;rel=next,<{page}>;rel=next")]),
            at(page),
            "the first rel counts"
        );
    }

    #[test]
    fn a_page_elsewhere_is_asked_at_the_peers_own_origin_and_no_link_is_lost() {
        let at = |path: &str| Ok(Some(format!("https://p.example:8443{path}")));
        assert_eq!(
            next(&["<http://controlplane:8282/dsp/catalog?page=2#x>; rel=next"]),
            at("/dsp/catalog?page=2")
        );
        assert_eq!(next(&["<//evil.example/dsp>; rel=next"]), at("/dsp"));
        assert!(next(&["<urn:page:2>; rel=next"]).is_err());
        assert!(next(&["<http://[>; rel=next"]).is_err());
    }
}
