//! The text of an element, as far as answers of STS and errors need it: no attributes, no nesting of the same name.

/// The text of the first element of this name, with entities replaced.
pub(crate) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.trim().split('&');
    plain.push_str(parts.next()?);
    for part in parts {
        let (entity, rest) = part.split_once(';')?;
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => char::from_u32(match number.strip_prefix("#x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.strip_prefix('#')?.parse().ok()?,
            })?,
        });
        plain.push_str(rest);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_and_entities_replaced() {
        let xml = "<R><C>\n<A> a&lt;b&amp;&#x41;&#66;&quot; </A><B></B></C><A>two</A></R>";
        assert_eq!(element(xml, "A").as_deref(), Some("a<b&AB\""));
        assert_eq!(element(xml, "B").as_deref(), Some(""));
        for (xml, name) in [
            ("<A>x", "A"),
            ("</A>x<A>", "A"),
            ("<A>&what;</A>", "A"),
            ("<A>&#xD800;</A>", "A"),
            ("<A>&</A>", "A"),
            ("", "A"),
        ] {
            assert_eq!(element(xml, name), None, "{xml}");
        }
    }
}
