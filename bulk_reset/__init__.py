"""Update thousands of incidents from a spreadsheet, within the API's quota."""
