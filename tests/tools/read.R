# Reads what wanted.tsv of a folder names, and writes what was read as JSON: columns with their cells.
folder <- commandArgs(trailingOnly = TRUE)[1]
key <- Sys.getenv("CONCORDAT_KEY")
headers <- c("X-Api-Key" = key)
suppressPackageStartupMessages({library(jsonlite); library(data.table)})
setDTthreads(1)
wanted <- read.delim(file.path(folder, "wanted.tsv"), header = FALSE, col.names = c("name", "form", "address"), quote = "")
opened <- function(address) url(address, headers = headers, encoding = "UTF-8", open = "rb")
keep <- function(name, form, package, read) {
  got <- tryCatch(as.list(read()), error = function(problem) list(error = unbox(conditionMessage(problem))))
  path <- file.path(folder, paste(name, form, package, "json", sep = "."))
  writeLines(toJSON(got, digits = NA, na = "null", null = "null", force = TRUE), path, useBytes = TRUE)
}
for (at in seq_len(nrow(wanted))) {
  one <- wanted[at, ]
  if (one$form == "csv") {
    keep(one$name, one$form, "R", function() {
      read.csv(url(one$address, headers = headers), colClasses = "character", check.names = FALSE, na.strings = character(),
               encoding = "UTF-8", comment.char = "")
    })
    keep(one$name, one$form, "data.table", function() {
      path <- tempfile()
      download.file(one$address, path, headers = headers, quiet = TRUE, mode = "wb")
      fread(path, sep = ",", colClasses = "character", na.strings = NULL, encoding = "UTF-8", header = TRUE, data.table = FALSE,
            blank.lines.skip = FALSE, strip.white = FALSE)
    })
  } else if (one$form == "json") {
    keep(one$name, one$form, "jsonlite", function() fromJSON(url(one$address, headers = headers)))
  } else {
    keep(one$name, one$form, "jsonlite", function() {
      connection <- url(one$address, headers = headers, open = "rb")
      on.exit(close(connection))
      stream_in(connection, verbose = FALSE)
    })
  }
}
