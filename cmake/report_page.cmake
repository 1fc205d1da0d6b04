# Puts the report's page together from its parts, and writes it as an array of bytes.
# cmake -DFOLDER=src/report/page -DLIBRARY=a.min.js;b.min.js -DOUTPUT=page_template.cpp -P report_page.cmake

cmake_minimum_required(VERSION 3.22)

# Puts files, one after the other, in the place of a marker.
function(insert_files page marker)
  set(text "")
  foreach(path ${ARGN})
    file(READ ${path} part)
    string(FIND "${part}" "</script" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${path} would end the <script> element that it is put into")
    endif()
    string(APPEND text "${part}\n")
  endforeach()
  string(REPLACE "${marker}" "${text}" replaced "${${page}}")
  set(${page} "${replaced}" PARENT_SCOPE)
endfunction()

file(READ ${FOLDER}/page.html page)
insert_files(page "{{style}}" ${FOLDER}/page.css)
insert_files(page "{{library}}" ${LIBRARY})
insert_files(page "{{script}}" ${FOLDER}/format.js ${FOLDER}/charts.js ${FOLDER}/details.js ${FOLDER}/table.js ${FOLDER}/main.js)
file(WRITE ${OUTPUT}.html "${page}")
file(READ ${OUTPUT}.html bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"report/page_template.hpp\"

const unsigned char stillbit::report::kPageTemplate[] = {
${bytes}};
const std::size_t stillbit::report::kPageTemplateBytes = sizeof(kPageTemplate);
")
