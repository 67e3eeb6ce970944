//! Signatures that others made: the examples of RFC 7515 and RFC 8037.

use std::time::{Duration, UNIX_EPOCH};

use roomcast::testing::{
    auth::{Authority, TokenError},
    config::TokenSettings,
    model::Token,
};
use serde_json::{Value, json};

use super::support::{encode, file, settings};

/// The payload of RFC 7515 appendix A.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn check(jwk: &Value, token: &str) -> Result<String, TokenError> {
    let set = file(json!({"keys": [jwk]}).to_string());
    let settings =
        TokenSettings { jwks_file: Some(set.path().to_owned()), user_claims: vec!["iss".to_owned()], ..settings() };
    let authority = Authority::new(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(1_300_819_000);
    let grant = runtime.block_on(authority.verify(&Token::new(token), then))?;
    Ok(grant.user().unwrap().to_string())
}

#[test]
fn the_examples_of_rfc_7515_are_joes() {
    let hs256 = (
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    let rs256 = (
        json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJ\
            PMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB\
            dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2\
            PAcDTW9gb54h4FRWyuXpoQ"}),
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjb\
         KBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZES\
         c6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    let es256 = (
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        }),
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    for (jwk, header, signature) in [hs256, rs256, es256] {
        assert_eq!(check(&jwk, &format!("{header}.{PAYLOAD}.{signature}")), Ok("joe".to_owned()), "{jwk}");
        let other = encode(r#"{"iss":"ann","exp":1300819380}"#);
        assert_eq!(check(&jwk, &format!("{header}.{other}.{signature}")), Err(TokenError::Signature), "{jwk}");
    }
}

/// Its payload is a sentence: the signature is good, so that the payload is looked at.
#[test]
fn the_example_of_rfc_8037_has_a_good_signature_and_no_claims() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let verdict = check(&jwk, &format!("{signed}.{signature}"));
    assert!(matches!(verdict, Err(TokenError::Malformed(why)) if why.contains("payload")), "{verdict:?}");
    assert_eq!(check(&jwk, &format!("{signed}.{}", signature.replace("hgyY", "hgyZ"))), Err(TokenError::Signature));
}
