//! Prints the API as an OpenAPI 3.1 document, as the server tells it at `/openapi.json`.

use etcdup_http_api::{TABLE, openapi};

fn main() -> Result<(), serde_json::Error> {
    serde_json::to_writer_pretty(std::io::stdout().lock(), &openapi(TABLE))?;
    println!();
    Ok(())
}
